//! Reading a document: from JSON to a checked [`Architecture`].

mod chain;
mod convolutions;
mod draft;
mod fields;
mod layers;
mod legacy;
mod nearest;
mod normalizations;
mod objects;

use serde_json::Value;
use serde_json::error::Category;

use super::{
    Architecture, ArchitectureError, Fault, Layer, MAX_LAYERS, MAX_PARAMETERS, Node, Place, Shape,
    infer, variables,
};
use chain::Chain;
use fields::{Fields, invalid, missing, shorten};

pub(super) fn from_json(text: &str) -> Result<Architecture, ArchitectureError> {
    from_value(serde_json::from_str(text).map_err(syntax)?)
}

fn syntax(error: serde_json::Error) -> ArchitectureError {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    // serde_json has no category for this one.
    if text.starts_with("recursion limit exceeded") {
        return ArchitectureError::TooDeep { line, column };
    }
    let place = format!(" at line {line} column {column}");
    let reason = match error.classify() {
        Category::Eof => "the text ends too early",
        _ => text.strip_suffix(&place).unwrap_or(&text),
    };
    ArchitectureError::Syntax {
        reason: reason.to_owned(),
        line,
        column,
    }
}

pub(super) fn from_value(value: Value) -> Result<Architecture, ArchitectureError> {
    let model = Model::read(value)?;
    if model.layers.len() > MAX_LAYERS {
        return Err(ArchitectureError::TooManyLayers {
            found: model.layers.len(),
        });
    }
    let mut drafts = draft::all(model.layers)?;
    if let Some(chain) = model.chain {
        chain.check(&drafts)?;
    }
    let mut nodes = vec![draft::input_node(&mut drafts, model.input_shape)?];
    let mut parameters = 0usize;
    for draft in drafts {
        let place = draft.place.clone();
        let previous = nodes.len() - 1;
        let input = &nodes[previous].output_shape;
        let node = draft
            .into_node(previous, input)
            .map_err(|fault| place.at_fault(fault))?;
        parameters = variables::of_node(&node, input)
            .map(|variable| Shape::new(variable.shape).elements().unwrap_or(usize::MAX))
            .fold(parameters, usize::saturating_add);
        if parameters > MAX_PARAMETERS {
            return Err(ArchitectureError::TooManyParameters { place });
        }
        nodes.push(node);
    }
    if nodes.len() == 1 {
        return Err(ArchitectureError::Empty);
    }
    Ok(Architecture {
        name: model.name,
        nodes,
    })
}

/// What Keras 1.0 wrote beside the `config` of a compiled model: how it was trained.
const COMPILED: [&str; 7] = [
    "loss",
    "loss_weights",
    "optimizer",
    "metrics",
    "class_mode",
    "sample_weight_mode",
    "theano_mode",
];

/// The parts of a document that are not its layers.
struct Model {
    name: String,
    layers: Vec<Value>,
    /// How a `Functional` model's layers are connected; those of a `Sequential` are in a row.
    chain: Option<Chain>,
    /// What Keras was shown when it built the model, the batch axis first; it stands in where no
    /// layer says what comes in.
    input_shape: Option<Shape>,
}

impl Model {
    fn read(document: Value) -> Result<Self, ArchitectureError> {
        match document {
            Value::Array(layers) => Ok(Self::of_layers(layers)),
            Value::Object(object) => {
                let class_name = match object.get("class_name") {
                    Some(Value::String(name)) => name.clone(),
                    _ => "Sequential".to_owned(),
                };
                let functional = match class_name.as_str() {
                    "Sequential" => false,
                    // Keras 1 and 2 had the latter name.
                    "Functional" | "Model" => true,
                    _ => {
                        return Err(ArchitectureError::UnsupportedModel {
                            class_name: shorten(class_name),
                        });
                    }
                };
                objects::refuse_custom(&object, &class_name)
                    .and_then(|()| Self::from_fields(Fields::new(object), functional))
                    .map_err(|fault| ArchitectureError::Model { fault })
            }
            other => Err(ArchitectureError::NotAModel {
                found: fields::quote(&other),
            }),
        }
    }

    fn of_layers(layers: Vec<Value>) -> Self {
        Self {
            name: "sequential".to_owned(),
            layers,
            chain: None,
            input_shape: None,
        }
    }

    fn from_fields(mut document: Fields, functional: bool) -> Result<Self, Fault> {
        for ignored in [
            "class_name",
            "module",
            "registered_name",
            "keras_version",
            "backend",
            "compile_config",
        ] {
            document.ignore(ignored);
        }
        let built = match document.take("build_config") {
            Some(Value::Object(mut build)) => build.swap_remove("input_shape"),
            _ => None,
        };
        let config = document.take("config");
        if config.is_some() {
            for ignored in COMPILED {
                document.ignore(ignored);
            }
        }
        let mut config = match config {
            // Keras 1 and 2.0.
            Some(Value::Array(layers)) if !functional => {
                document.finish()?;
                return Ok(Self::of_layers(layers));
            }
            Some(Value::Object(config)) => {
                document.finish()?;
                Fields::new(config)
            }
            Some(found) => {
                return Err(invalid("config", &found, "an object {\"layers\": […]}"));
            }
            None => document,
        };
        let name = draft::name(&mut config)?.unwrap_or_else(|| "sequential".to_owned());
        let allowed = "a list of layers, [{\"class_name\": …, \"config\": {…}}, …]";
        let mut layers = match config.take("layers") {
            Some(Value::Array(layers)) => layers,
            Some(found) => return Err(invalid("layers", &found, allowed)),
            None => return Err(missing("layers", allowed)),
        };
        let chain = functional.then(|| Chain::take(&mut config, &mut layers));
        config.ignore("trainable");
        config.float_dtype()?;
        let field = "build_input_shape";
        let input_shape = config
            .take(field)
            .or(built)
            // A Functional model's input layer says it.
            .filter(|_| !functional)
            .map(|shape| draft::shape(field, &shape, true))
            .transpose()?;
        config.finish()?;
        Ok(Self {
            name,
            layers,
            chain,
            input_shape,
        })
    }
}
