//! `/v2`, the Open Inference Protocol: JSON and bytes, every type, and every way to get it wrong.

mod infer;
mod refusals;
mod server;

use serde_json::{Value, json};

use super::{Reply, Server, png};

const INFER: &str = "/v2/models/shade/infer";
const HEADER: &str = "inference-header-content-length";

/// A request for one tensor with these parts.
fn request(shape: Value, datatype: &str, data: Value) -> Value {
    json!({"inputs": [{"name": "input_layer", "shape": shape, "datatype": datatype, "data": data}]})
}

/// A 4×4 image of one brightness.
fn plain(brightness: f32) -> Vec<f32> {
    vec![brightness; 16]
}

impl Server {
    fn infer(&self, body: &Value) -> Reply {
        self.post(INFER, "application/json", body.to_string().as_bytes())
    }

    /// JSON with bytes behind it, under the header that says where they begin.
    fn infer_bytes(&self, json: &str, bytes: &[u8], header: &str) -> Reply {
        let body = [json.as_bytes(), bytes].concat();
        let request = self.agent.post(self.url(INFER)).header(HEADER, header);
        request.send(&body[..]).unwrap().into()
    }

    /// An input of bytes behind the JSON, with its size said rightly.
    fn infer_binary(&self, shape: Value, datatype: &str, bytes: &[u8]) -> Reply {
        let json = json!({"inputs": [{
            "name": "input_layer", "shape": shape, "datatype": datatype,
            "parameters": {"binary_data_size": bytes.len()},
        }]})
        .to_string();
        self.infer_bytes(&json, bytes, &json.len().to_string())
    }
}

/// The scores of an answer in JSON.
fn scores(answer: &Value) -> Vec<f32> {
    let output = &answer["outputs"][0];
    assert_eq!(
        (&output["name"], &output["datatype"]),
        (&json!("shade"), &json!("FP32"))
    );
    let data = output["data"].as_array().unwrap();
    data.iter()
        .map(|score| score.as_f64().unwrap() as f32)
        .collect()
}

/// What the native route says of a white image.
fn native(server: &Server) -> f32 {
    let answer = server.predict("/predict", &png(255, 4)).ok();
    answer["predictions"][0]["probability"].as_f64().unwrap() as f32
}
