//! The service as its clients meet it: a real server on a loopback address, asked over real connections.

mod admin;
mod datasets;
mod doors;
mod health;
mod hostile;
mod metrics;
mod models;
mod overload;
mod predict;
mod tls;
mod training;
mod transfer;
mod v1;
mod v2;

use std::io::Cursor;
use std::sync::Arc;
use std::thread::JoinHandle;

use burn::tensor::Device;
use irori::architecture::Architecture;
use irori::dataset::Store;
use irori::evaluation::{Epoch, Evaluator, History};
use irori::http::{self, Access, AppState, Doors, HttpConfig, Tls, Tokens};
use irori::imaging::Preprocessing;
use irori::network::{Parameter, Parameters};
use irori::repository::{Draft, Lineage, Origin, Outputs, Repository};
use irori::serving::{Engine, EngineConfig, Models};
use irori::training::Jobs;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

const TOKEN: &str = "the admin's token";

/// A server that is running, with a model `shade` that tells light images from dark ones.
struct Server {
    url: String,
    admin_url: String,
    agent: ureq::Agent,
    folder: TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

/// What a server is started with.
struct Settings {
    http: HttpConfig,
    engine: EngineConfig,
    admin: Tokens,
    api_keys: Option<Tokens>,
    /// Whether `/admin` has an address of its own.
    admin_door: bool,
    tls: Option<Tls>,
    /// Versions of `shade` that are published before the start.
    versions: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            http: HttpConfig::default(),
            engine: EngineConfig {
                queue_capacity: 256,
                threads: 1,
                ..Default::default()
            },
            admin: Tokens::new([TOKEN]).unwrap(),
            api_keys: None,
            admin_door: false,
            tls: None,
            versions: 1,
        }
    }
}

impl Server {
    /// Serves version 2 of two, the first of which is damaged on the disk.
    fn with_a_damaged_version() -> Self {
        let server = Self::with(Settings {
            versions: 2,
            ..Settings::default()
        });
        let weights = "models/shade/1/weights.safetensors";
        std::fs::write(server.folder.path().join(weights), b"damaged").unwrap();
        server
    }

    fn start() -> Self {
        Self::with(Settings::default())
    }

    fn with(settings: Settings) -> Self {
        let folder = TempDir::new().unwrap();
        let repository = Repository::open(folder.path().join("models")).unwrap();
        for version in 1..=settings.versions {
            repository.publish("shade", &shade(version)).unwrap();
        }
        let models = Arc::new(Models::load(repository, Device::flex(), None).unwrap());
        let engine = Engine::start(settings.engine).unwrap();
        let jobs = Jobs::start(
            rayon::ThreadPoolBuilder::new()
                .num_threads(1)
                .build()
                .unwrap(),
        );
        let datasets = Store::new(folder.path().join("datasets"));
        let state = AppState::new(
            settings.http,
            models,
            engine,
            jobs.unwrap(),
            datasets,
            Access {
                admin: settings.admin,
                api_keys: settings.api_keys,
            },
        );

        let scheme = if settings.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let (public, url) = listen(scheme);
        let (admin, admin_url) = if settings.admin_door {
            let (admin, url) = listen(scheme);
            (Some(admin), url)
        } else {
            (None, url.clone())
        };
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let open = |listener| tokio::net::TcpListener::from_std(listener).unwrap();
                let doors = Doors {
                    public: open(public),
                    admin: admin.map(open),
                    tls: settings.tls,
                };
                let shutdown = async {
                    let _ = stopped.await;
                };
                http::run(doors, state, shutdown).await
            })
        });
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .into();
        Self {
            url,
            admin_url,
            agent,
            folder,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    fn address(&self) -> &str {
        self.url.split_once("://").unwrap().1
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    fn get(&self, path: &str) -> Reply {
        self.agent.get(self.url(path)).call().unwrap().into()
    }

    fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Reply {
        let request = self.agent.post(self.url(path));
        request
            .header("content-type", content_type)
            .send(body)
            .unwrap()
            .into()
    }

    /// An image as the body itself.
    fn predict(&self, path: &str, image: &[u8]) -> Reply {
        self.post(path, "application/octet-stream", image)
    }

    fn admin_get(&self, path: &str) -> Reply {
        let request = self.agent.get(self.url(path));
        request
            .header("authorization", bearer())
            .call()
            .unwrap()
            .into()
    }

    fn admin_post(&self, path: &str, body: &Value) -> Reply {
        let request = self
            .agent
            .post(self.url(path))
            .header("authorization", bearer());
        let request = request.header("content-type", "application/json");
        request.send(body.to_string()).unwrap().into()
    }

    fn admin_send(&self, path: &str, content_type: &str, body: &[u8]) -> Reply {
        let request = self
            .agent
            .post(self.url(path))
            .header("authorization", bearer());
        request
            .header("content-type", content_type)
            .send(body)
            .unwrap()
            .into()
    }

    fn admin_put(&self, path: &str, body: &[u8]) -> Reply {
        let request = self
            .agent
            .put(self.url(path))
            .header("authorization", bearer());
        request.send(body).unwrap().into()
    }

    fn admin_delete(&self, path: &str) -> Reply {
        let request = self.agent.delete(self.url(path));
        request
            .header("authorization", bearer())
            .call()
            .unwrap()
            .into()
    }

    /// Asks the server to stop, without waiting until it has.
    fn ask_to_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    fn wait(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ask_to_stop();
    }
}

/// A free address, and what its URLs begin with.
fn listen(scheme: &str) -> (std::net::TcpListener, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("{scheme}://{}", listener.local_addr().unwrap());
    (listener, url)
}

fn bearer() -> String {
    format!("Bearer {TOKEN}")
}

/// An answer, read whole.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: ureq::http::HeaderMap,
    body: Vec<u8>,
}

impl From<ureq::http::Response<ureq::Body>> for Reply {
    fn from(response: ureq::http::Response<ureq::Body>) -> Self {
        let (parts, mut body) = response.into_parts();
        Self {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.read_to_vec().unwrap(),
        }
    }
}

impl Reply {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    #[track_caller]
    fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }

    /// Checks that this is an error in the form of /v1 and /v2, and returns what it says.
    #[track_caller]
    fn error(self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/json");
        let error = self.json();
        let error = error.as_object().unwrap();
        assert_eq!(error.keys().collect::<Vec<_>>(), ["error"]);
        error["error"].as_str().unwrap().to_owned()
    }

    /// Checks that this is a problem in its full form, and returns its detail.
    #[track_caller]
    fn problem(self, status: u16, code: &str) -> String {
        let problem = self.json();
        assert_eq!(
            (self.status, problem["code"].as_str()),
            (status, Some(code)),
            "{problem}"
        );
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("urn:irori:problem:{code}"));
        assert!(
            problem["title"]
                .as_str()
                .is_some_and(|title| !title.is_empty())
        );
        problem["detail"].as_str().unwrap().to_owned()
    }
}

/// The same without its softmax, so that what the network gives are logits.
fn logits() -> Draft {
    let document = json!({"layers": [
        {"class_name": "GlobalAveragePooling2D", "config": {"name": "mean", "input_shape": [4, 4, 1]}},
        {"class_name": "Dense", "config": {"name": "shade", "units": 2}},
    ]});
    Draft {
        architecture: Architecture::from_value(&document).unwrap(),
        outputs: Outputs::Logits,
        ..shade(1)
    }
}

/// A model over the mean brightness of 4×4 images. The odd versions know bright images as `light`, the even ones call them
/// `pale`.
fn shade(version: usize) -> Draft {
    let labels = [if version % 2 == 1 { "light" } else { "pale" }, "dark"].map(str::to_owned);
    let document = json!({"layers": [
        {"class_name": "GlobalAveragePooling2D", "config": {"name": "mean", "input_shape": [4, 4, 1]}},
        {"class_name": "Dense", "config": {"name": "shade", "units": 2, "activation": "softmax"}},
    ]});
    let weights = [
        ("shade/kernel", vec![1, 2], vec![4.0, -4.0]),
        ("shade/bias", vec![2], vec![-2.0, 2.0]),
    ];
    let parameters: Parameters = weights
        .into_iter()
        .map(|(name, shape, values)| (name.to_owned(), Parameter { shape, values }))
        .collect();
    let mut evaluator = Evaluator::new(labels.to_vec()).unwrap();
    evaluator
        .add(
            &[0.9, 0.1, 0.2, 0.8, 0.7, 0.3, 0.6, 0.4],
            &[0, 1, 0, 1],
            1.0,
        )
        .unwrap();
    let mut history = History::default();
    let epoch = Epoch {
        epoch: 1,
        loss: 0.5,
        accuracy: 0.75,
        val_loss: None,
        val_accuracy: None,
        learning_rate: 0.01,
        seconds: 1.0,
        images_per_second: 4.0,
    };
    history.push(epoch).unwrap();
    Draft {
        architecture: Architecture::from_value(&document).unwrap(),
        parameters,
        labels: labels.to_vec(),
        preprocessing: Preprocessing::for_channels(1),
        outputs: Outputs::Probabilities,
        lineage: Lineage {
            origin: Origin::Trained,
            ..Lineage::default()
        },
        evaluation: Some(evaluator.finish(None).unwrap()),
        history: Some(history),
        examples: Vec::new(),
    }
}

/// A PNG of one grey.
fn png(grey: u8, side: u32) -> Vec<u8> {
    let image = image::GrayImage::from_pixel(side, side, image::Luma([grey]));
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// A zip archive of these files.
fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    use std::io::Write;

    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        let options = zip::write::SimpleFileOptions::default();
        archive.start_file(*name, options).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// A multipart form of parts: field, file name if it has one, content. Returns its content type and its body.
fn form(parts: &[(&str, Option<&str>, &[u8])]) -> (String, Vec<u8>) {
    let mut body = Vec::new();
    for (field, file, content) in parts {
        let file = file
            .map(|file| format!("; filename=\"{file}\""))
            .unwrap_or_default();
        let head =
            format!("--frontier\r\ncontent-disposition: form-data; name=\"{field}\"{file}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--frontier--\r\n");
    ("multipart/form-data; boundary=frontier".to_owned(), body)
}
