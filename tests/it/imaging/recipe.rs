//! How images are prepared for a network, as a recipe says it.

use irori::imaging::{Preprocessing, PreprocessingError};
use serde_json::json;

#[test]
fn a_recipe_is_read_with_defaults_and_written_whole() {
    let recipe: Preprocessing =
        serde_json::from_value(json!({"invert": true, "resize": {"mode": "pad"}})).unwrap();
    let recipe = recipe.checked(1).unwrap();
    assert_eq!(
        serde_json::to_value(&recipe).unwrap(),
        json!({
            "color": "grayscale", "background": [0, 0, 0],
            "resize": {"mode": "pad", "filter": "bilinear", "antialias": true},
            "invert": true, "scale": 1.0f32 / 255.0, "offset": 0.0f32,
        })
    );
    for text in [
        r#"{"colour": "rgb"}"#,
        r#"{"resize": {"kind": "pad"}}"#,
        r#"{"color": "cmyk"}"#,
        r#"{"background": [0, 0, 256]}"#,
    ] {
        assert!(
            serde_json::from_str::<Preprocessing>(text).is_err(),
            "{text}"
        );
    }
}

#[test]
fn a_recipe_that_does_not_suit_the_model_is_refused() {
    let rgb = || Preprocessing::for_channels(3);
    let code =
        |recipe: Preprocessing, channels| recipe.check(channels).map_err(|error| error.code());
    assert_eq!(code(rgb(), 3), Ok(()));
    assert_eq!(code(rgb(), 1), Err("preprocessing_color_mismatch"));
    assert_eq!(
        code(Preprocessing::default(), 4),
        Err("preprocessing_channels_unsupported")
    );
    assert_eq!(
        code(
            Preprocessing {
                scale: f32::NAN,
                ..rgb()
            },
            3
        ),
        Err("preprocessing_not_finite")
    );
    assert_eq!(
        code(
            Preprocessing {
                mean: Some(vec![0.5]),
                ..rgb()
            },
            3
        ),
        Err("preprocessing_wrong_length")
    );
    assert_eq!(
        code(
            Preprocessing {
                std: Some(vec![1.0, 0.0, 1.0]),
                ..rgb()
            },
            3
        ),
        Err("preprocessing_std_not_positive")
    );
    assert_eq!(
        code(
            Preprocessing {
                scale: 1e38,
                ..rgb()
            },
            3
        ),
        Err("preprocessing_overflow")
    );
    assert_eq!(
        Preprocessing {
            std: Some(vec![1.0, -1.0, 1.0]),
            ..rgb()
        }
        .check(3),
        Err(PreprocessingError::Std { value: -1.0 })
    );
}
