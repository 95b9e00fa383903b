//! A draft: a layer of a document whose name is settled and whose options are still to be read.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::fields::{positive, quote};
use super::objects::refuse_custom;
use super::{
    ArchitectureError, Fault, Fields, Layer, Node, Place, Shape, infer, invalid, layers, legacy,
    missing, shorten,
};

/// How long a name may be, in characters.
const LONGEST_NAME: usize = 200;

/// A layer before its options are read.
pub(super) struct Draft {
    pub(super) place: Place,
    /// Keras 3's class.
    class_name: String,
    /// What the first layer says comes in; Keras ignores what others say.
    declared_input: Option<Shape>,
    fields: Fields,
}

/// The drafts of all layers, each with a name of its own.
pub(super) fn all(layers: Vec<Value>) -> Result<Vec<Draft>, ArchitectureError> {
    let mut drafts = Vec::with_capacity(layers.len());
    let mut taken: HashMap<String, usize> = HashMap::new();
    for (index, layer) in layers.into_iter().enumerate() {
        let mut place = Place {
            position: index + 1,
            name: String::new(),
            class_name: String::new(),
        };
        let draft = Draft::read(&mut place, layer).map_err(|fault| place.at_fault(fault))?;
        if !draft.place.name.is_empty()
            && let Some(earlier) = taken.insert(draft.place.name.clone(), draft.place.position)
        {
            return Err(draft.place.at_fault(Fault::DuplicateName { earlier }));
        }
        drafts.push(draft);
    }
    let mut names = Names::besides(taken.into_keys());
    for draft in &mut drafts {
        if draft.place.name.is_empty() {
            draft.place.name = names.next(&snake_case(&draft.class_name));
        }
    }
    Ok(drafts)
}

/// The input of the model: its own layer, or what the first layer says, or what Keras built it for.
pub(super) fn input_node(
    drafts: &mut Vec<Draft>,
    built_for: Option<Shape>,
) -> Result<Node, ArchitectureError> {
    let first = drafts.first().ok_or(ArchitectureError::Empty)?;
    let shape = first
        .declared_input
        .clone()
        .or(built_for)
        .ok_or_else(|| first.place.at_fault(Fault::NoInputShape))?;
    infer::elements(&shape).map_err(|fault| first.place.at_fault(fault))?;
    let name = if first.class_name == "InputLayer" {
        let Draft { place, fields, .. } = drafts.remove(0);
        read_input_layer(fields).map_err(|fault| place.at_fault(fault))?;
        place.name
    } else {
        Names::besides(drafts.iter().map(|draft| draft.place.name.clone())).next("input_layer")
    };
    Ok(Node {
        name,
        layer: Layer::Input,
        inputs: Vec::new(),
        output_shape: shape,
        trainable: true,
    })
}

/// Checks what is left of an `InputLayer`.
fn read_input_layer(mut fields: Fields) -> Result<(), Fault> {
    fields.only("sparse", &[false.into()])?;
    fields.only("ragged", &[false.into()])?;
    fields.only("optional", &[false.into()])?;
    fields.absent("input_tensor")?;
    fields.ignore("trainable");
    fields.numeric_dtype()?;
    fields.finish()
}

impl Draft {
    /// Reads what all layers have; `place` is filled in as far as it becomes known.
    fn read(place: &mut Place, layer: Value) -> Result<Self, Fault> {
        let allowed = "an object {\"class_name\": …, \"config\": {…}}";
        let Value::Object(mut object) = layer else {
            return Err(invalid("layers", &layer, allowed));
        };
        let found = match object.swap_remove("class_name") {
            Some(Value::String(name)) => name,
            Some(found) => return Err(invalid("class_name", &found, "the name of a layer class")),
            None => return Err(missing("class_name", "the name of a layer class")),
        };
        place.class_name = shorten(found.clone());
        refuse_custom(&object, &found)?;
        let mut config = config(object)?;
        let class_name = legacy::class_name(&found).to_owned();
        legacy::rename(&class_name, &mut config);
        let mut fields = Fields::new(config);
        place.name = name(&mut fields)?.unwrap_or_default();
        Ok(Self {
            place: place.clone(),
            declared_input: declared_input(place.position == 1, &class_name, &mut fields)?,
            class_name,
            fields,
        })
    }

    /// Refuses a layer that can't be read whatever its options are.
    pub(super) fn check_class(&self) -> Result<(), Fault> {
        if Layer::CLASS_NAMES.contains(&self.class_name.as_str()) {
            Ok(())
        } else {
            Err(layers::unknown(&self.class_name))
        }
    }

    /// The checked node, which takes its input from node `previous`.
    pub(super) fn into_node(mut self, previous: usize, input: &Shape) -> Result<Node, Fault> {
        let fields = &mut self.fields;
        let trainable = fields.flag("trainable", true)?;
        fields.float_dtype()?;
        fields.only("dynamic", &[false.into()])?;
        fields.ignore("autocast");
        let layer = layers::read(&self.class_name, fields, input)?;
        self.fields.finish()?;
        Ok(Node {
            output_shape: infer::output_shape(&layer, input)?,
            name: self.place.name,
            // It has no weights, and Keras can't say of it that it is frozen.
            trainable: trainable || matches!(layer, Layer::SpatialDropout2D { .. }),
            layer,
            inputs: vec![previous],
        })
    }
}

/// The options of a layer: its `config`, or where it has none, what stands beside the class.
fn config(mut object: Map<String, Value>) -> Result<Map<String, Value>, Fault> {
    let beside = [
        "module",
        "registered_name",
        "build_config",
        "shared_object_id",
    ];
    let config = match object.swap_remove("config") {
        Some(Value::Object(config)) => Some(config),
        None | Some(Value::Null) => None,
        Some(found) => {
            return Err(invalid(
                "config",
                &found,
                "an object with the layer's options",
            ));
        }
    };
    match config {
        Some(config) => {
            let mut outer = Fields::new(object);
            for field in beside {
                outer.ignore(field);
            }
            outer.ignore("name");
            outer.ignore("config");
            outer.finish()?;
            Ok(config)
        }
        None => {
            for field in beside {
                object.swap_remove(field);
            }
            Ok(object)
        }
    }
}

/// Takes "name".
pub(super) fn name(fields: &mut Fields) -> Result<Option<String>, Fault> {
    match fields.take("name") {
        None => Ok(None),
        Some(Value::String(name))
            if !name.is_empty()
                && name.chars().count() <= LONGEST_NAME
                && !name.contains(|c: char| c == '/' || c.is_control()) =>
        {
            Ok(Some(name))
        }
        Some(found) => Err(invalid(
            "name",
            &found,
            format!("a text of 1 to {LONGEST_NAME} characters without \"/\", as in Keras 3"),
        )),
    }
}

/// Takes the fields by which a first layer says what comes in.
///
/// On the others they are ignored, as Keras does: many tutorials' models have them, and wrong.
fn declared_input(
    is_first: bool,
    class_name: &str,
    fields: &mut Fields,
) -> Result<Option<Shape>, Fault> {
    let is_input = class_name == "InputLayer";
    fields.ignore("input_dtype");
    fields.ignore("batch_size");
    let mut declared = None;
    for (field, batched) in [
        ("batch_shape", true),
        ("batch_input_shape", true),
        ("input_shape", false),
        ("input_dim", false),
        ("shape", false),
    ] {
        if field == "shape" && !is_input {
            continue;
        }
        let Some(value) = fields.take(field).filter(|_| is_first) else {
            continue;
        };
        let shape = shape(field, &value, batched)?;
        match &declared {
            None => declared = Some(shape),
            Some(earlier) if *earlier == shape => {}
            Some(earlier) => {
                return Err(invalid(
                    field,
                    &value,
                    format!("the {earlier} that another field says"),
                ));
            }
        }
    }
    Ok(declared)
}

/// A shape as a document says it: a list of sizes, or one size.
pub(super) fn shape(field: &'static str, value: &Value, batched: bool) -> Result<Shape, Fault> {
    let allowed = if batched {
        "null for the batch and 1 to 3 sizes of 1 or more, e.g. [null, 28, 28, 1]"
    } else {
        "1 to 3 sizes of 1 or more, e.g. [28, 28, 1] for height, width, channels, or [784]"
    };
    let wrong = || invalid(field, value, allowed);
    let dims = match value {
        Value::Array(list) if batched => list.get(1..).ok_or_else(wrong)?,
        Value::Array(list) => list,
        single if !batched => std::slice::from_ref(single),
        _ => return Err(wrong()),
    };
    if !(1..=3).contains(&dims.len()) {
        return Err(wrong());
    }
    if dims.iter().any(Value::is_null) {
        return Err(Fault::UnsupportedOption {
            field,
            found: quote(value),
            allowed: "a fixed size for height, width and channels; null is for the batch only"
                .into(),
        });
    }
    let dims: Option<Vec<usize>> = dims.iter().map(positive).collect();
    dims.map(Shape::new).ok_or_else(wrong)
}

impl Fields {
    /// Takes the dtype of a layer or a model, which has to be a float.
    pub(super) fn float_dtype(&mut self) -> Result<(), Fault> {
        self.dtype(&[])
    }

    /// Takes the dtype of what comes in, which may also be an integer.
    fn numeric_dtype(&mut self) -> Result<(), Fault> {
        self.dtype(&[
            "uint8", "uint16", "uint32", "int8", "int16", "int32", "int64",
        ])
    }

    fn dtype(&mut self, integers: &[&str]) -> Result<(), Fault> {
        let floats = [
            "float32",
            "float16",
            "bfloat16",
            "float64",
            "mixed_float16",
            "mixed_bfloat16",
        ];
        let field = "dtype";
        let Some(value) = self.take(field) else {
            return Ok(());
        };
        // A DTypePolicy object, or its name.
        let policy = value.pointer("/config/name").unwrap_or(&value);
        match policy.as_str() {
            Some(name) if floats.contains(&name) || integers.contains(&name) => Ok(()),
            _ => Err(Fault::UnsupportedOption {
                field,
                found: quote(&value),
                allowed: format!("{}; all are computed in float32", floats.join(", ")),
            }),
        }
    }
}

/// Names by Keras' rule: `conv2d`, `conv2d_1`, `conv2d_2`, ….
struct Names {
    taken: HashSet<String>,
    counts: HashMap<String, usize>,
}

impl Names {
    fn besides(taken: impl Iterator<Item = String>) -> Self {
        Self {
            taken: taken.collect(),
            counts: HashMap::new(),
        }
    }

    /// The next free name that begins so.
    fn next(&mut self, base: &str) -> String {
        let count = self.counts.entry(base.to_owned()).or_default();
        loop {
            let name = match *count {
                0 => base.to_owned(),
                n => format!("{base}_{n}"),
            };
            *count += 1;
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }
}

/// `MaxPooling2D` to `max_pooling2d` and `ReLU` to `re_lu`, as Keras' `to_snake_case` has it.
fn snake_case(class_name: &str) -> String {
    let chars: Vec<char> = class_name.chars().filter(|c| c.is_alphanumeric()).collect();
    let mut name = String::with_capacity(class_name.len() + 4);
    for (i, &c) in chars.iter().enumerate() {
        let before = i.checked_sub(1).and_then(|i| chars.get(i));
        let starts_word = chars.get(i + 1).is_some_and(|after| after.is_lowercase());
        if c.is_uppercase() && before.is_some_and(|before| before.is_lowercase() || starts_word) {
            name.push('_');
        }
        name.extend(c.to_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::snake_case;

    #[test]
    fn names_follow_keras() {
        for (class_name, name) in [
            ("Dense", "dense"),
            ("Conv2D", "conv2d"),
            ("MaxPooling2D", "max_pooling2d"),
            ("GlobalAveragePooling2D", "global_average_pooling2d"),
            ("ReLU", "re_lu"),
            ("LeakyReLU", "leaky_re_lu"),
            ("ELU", "elu"),
            ("SeparableConv2D", "separable_conv2d"),
            ("DepthwiseConv2D", "depthwise_conv2d"),
            ("UpSampling2D", "up_sampling2d"),
            ("InputLayer", "input_layer"),
        ] {
            assert_eq!(snake_case(class_name), name);
        }
    }
}
