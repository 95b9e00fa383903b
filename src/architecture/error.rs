//! Errors of architecture documents: which layer, which field, what was found, what is allowed.

use std::fmt;

use thiserror::Error;

use super::{Layer, Shape};

/// Why a document is not an architecture that Irori runs.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ArchitectureError {
    /// The text is not JSON.
    #[error(
        "not JSON: {reason} at line {line}, column {column}; send the text that Keras' to_json() gives"
    )]
    Syntax {
        /// What the parser says.
        reason: String,
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// The text is nested deeper than any architecture.
    #[error(
        "the JSON is nested too deeply, at line {line}, column {column}; an architecture needs fewer than 128 levels"
    )]
    TooDeep {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// The document is no model.
    #[error(
        "the document is {found}; allowed is a Keras model, {{\"class_name\": \"Sequential\", \"config\": {{\"layers\": […]}}}}, or {{\"layers\": […]}}"
    )]
    NotAModel {
        /// What it is.
        found: String,
    },
    /// The model itself is at fault, rather than one of its layers.
    #[error("the model: {fault}")]
    Model {
        /// What is wrong with it.
        fault: Fault,
    },
    /// A kind of model other than `Sequential` and `Functional`.
    #[error(
        "a model of class \"{class_name}\" is not supported; allowed is a Sequential model, {{\"class_name\": \"Sequential\", \"config\": {{\"layers\": […]}}}}, or a Functional one whose layers are a chain"
    )]
    UnsupportedModel {
        /// Its class.
        class_name: String,
    },
    /// No layer, or only the input.
    #[error(
        "the model has no layers after its input; give \"layers\" at least one, e.g. {{\"class_name\": \"Dense\", \"config\": {{\"units\": 10, \"activation\": \"softmax\"}}}}"
    )]
    Empty,
    /// More layers than [`super::MAX_LAYERS`].
    #[error(
        "the model has {found} layers; at most {} are allowed",
        super::MAX_LAYERS
    )]
    TooManyLayers {
        /// How many.
        found: usize,
    },
    /// More weights than [`super::MAX_PARAMETERS`].
    #[error(
        "the weights up to {place} have more than {} numbers; use fewer units or filters, or pool before Flatten",
        super::MAX_PARAMETERS
    )]
    TooManyParameters {
        /// The layer at which the limit is passed.
        place: Place,
    },
    /// A layer is at fault.
    #[error("{place}: {fault}")]
    Layer {
        /// Which layer.
        place: Place,
        /// What is wrong with it.
        fault: Box<Fault>,
    },
}

impl ArchitectureError {
    /// The stable code of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "invalid_json",
            Self::TooDeep { .. } => "json_too_deep",
            Self::NotAModel { .. } => "not_a_model",
            Self::Model { fault } => fault.code(),
            Self::UnsupportedModel { .. } => "unsupported_model",
            Self::Empty => "no_layers",
            Self::TooManyLayers { .. } => "too_many_layers",
            Self::TooManyParameters { .. } => "too_many_parameters",
            Self::Layer { fault, .. } => fault.code(),
        }
    }
}

/// Which layer of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its place in the list of layers, counted from 1.
    pub position: usize,
    /// Its name, given or by Keras' rule.
    pub name: String,
    /// Its class, as the document says it.
    pub class_name: String,
}

impl Place {
    pub(super) fn at_fault(&self, fault: Fault) -> ArchitectureError {
        ArchitectureError::Layer {
            place: self.clone(),
            fault: Box::new(fault),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "layer {}", self.position)?;
        if !self.name.is_empty() {
            write!(f, " \"{}\"", self.name)?;
        }
        if !self.class_name.is_empty() {
            write!(f, " ({})", self.class_name)?;
        }
        Ok(())
    }
}

/// What is wrong with a layer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// No layer of that class is known.
    #[error("unknown layer class \"{found}\"{}; supported are {}", did_you_mean(*nearest), Layer::CLASS_NAMES.join(", "))]
    UnknownLayer {
        /// The class.
        found: String,
        /// The supported class whose name is nearest.
        nearest: Option<&'static str>,
    },
    /// Code of the model's author, or of a library other than Keras.
    #[error(
        "\"{found}\" is custom code, which is never executed; replace it by layers that Keras has, such as Rescaling or Activation"
    )]
    CustomObject {
        /// Its class or registered name.
        found: String,
    },
    /// A field that has to be there is not.
    #[error("\"{field}\" is missing; allowed is {allowed}")]
    MissingField {
        /// The field.
        field: &'static str,
        /// What it may be.
        allowed: String,
    },
    /// A field has a value that Keras does not take either.
    #[error("\"{field}\" is {found}; allowed is {allowed}")]
    Field {
        /// The field.
        field: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        allowed: String,
    },
    /// A field has a value that Keras takes and Irori does not compute.
    #[error("\"{field}\" is {found}, which is not supported; supported is {allowed}")]
    UnsupportedOption {
        /// The field.
        field: &'static str,
        /// Its value.
        found: String,
        /// What is supported.
        allowed: String,
    },
    /// A field that this layer does not have.
    #[error("unknown field \"{found}\"{}; known are {}", did_you_mean(*nearest), known.join(", "))]
    UnknownField {
        /// The field.
        found: String,
        /// The known field whose name is nearest.
        nearest: Option<&'static str>,
        /// All fields of this layer.
        known: Vec<&'static str>,
    },
    /// The layer wants its channels first.
    #[error(
        "\"{field}\" is \"channels_first\"; architectures are channels last here, so save the model with data_format=\"channels_last\""
    )]
    ChannelsFirst {
        /// The field that says so.
        field: &'static str,
    },
    /// The first layer does not say what comes in.
    #[error(
        "the input shape is unknown; give the first layer \"input_shape\", e.g. [28, 28, 1] for height, width, channels, or [784] for a vector"
    )]
    NoInputShape,
    /// The layer can't take what comes in.
    #[error("the input has the shape {found}; {allowed}")]
    Input {
        /// What comes in.
        found: Shape,
        /// What the layer needs.
        allowed: String,
    },
    /// The layers of a `Functional` model are no chain.
    #[error(
        "{found}; a Functional model has to be a chain here, in which each layer takes the one output of the layer before it in the list"
    )]
    NotAChain {
        /// What is other than in a chain.
        found: String,
    },
    /// Two layers of one name.
    #[error("layer {earlier} has the same name; give each layer a \"name\" of its own")]
    DuplicateName {
        /// The place of the other in the list, counted from 1.
        earlier: usize,
    },
    /// An output of more numbers than [`super::MAX_ELEMENTS`].
    #[error(
        "the output {found} has more than {} numbers per example; use smaller sizes, fewer filters or larger strides",
        super::MAX_ELEMENTS
    )]
    TooLarge {
        /// The output shape.
        found: String,
    },
}

impl Fault {
    /// The stable code of this fault.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownLayer { .. } => "unknown_layer",
            Self::CustomObject { .. } => "custom_object",
            Self::MissingField { .. } => "missing_field",
            Self::Field { .. } => "invalid_field",
            Self::UnsupportedOption { .. } => "unsupported_option",
            Self::UnknownField { .. } => "unknown_field",
            Self::ChannelsFirst { .. } => "channels_first",
            Self::NoInputShape => "no_input_shape",
            Self::Input { .. } => "incompatible_input",
            Self::NotAChain { .. } => "unsupported_model",
            Self::DuplicateName { .. } => "duplicate_layer_name",
            Self::TooLarge { .. } => "layer_too_large",
        }
    }
}

fn did_you_mean(nearest: Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |name| format!(" (did you mean \"{name}\"?)"))
}
