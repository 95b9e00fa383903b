//! The codes: every way in which a request or a job can go wrong, with its status and its title.
//!
//! The errors of the other modules name their codes themselves; here stands what HTTP makes of them. `openapi.yaml` lists the
//! codes from this table, and a test holds the table to the sources.

/// A kind of problem.
#[derive(Debug)]
pub(super) struct Code {
    /// Its stable name.
    pub(super) code: &'static str,
    /// The HTTP status it is answered with.
    pub(super) status: u16,
    /// What it means, without a full stop.
    pub(super) title: &'static str,
}

const fn code(code: &'static str, status: u16, title: &'static str) -> Code {
    Code {
        code,
        status,
        title,
    }
}

/// A fault of the server's own.
pub(super) const INTERNAL: Code = code("internal", 500, "The server failed");

/// The entry of a code, if it is known.
pub(super) fn find(code: &str) -> Option<&'static Code> {
    CODES.iter().find(|entry| entry.code == code)
}

/// All of them.
#[rustfmt::skip]
pub(super) static CODES: &[Code] = &[
    // Requests.
    code("invalid_path", 400, "The path has a part that is not as it must be"),
    code("invalid_query", 400, "A query parameter is not known or not as it must be"),
    code("invalid_json", 400, "The body is not JSON"),
    code("invalid_request", 422, "The JSON body is not what this route takes"),
    code("invalid_base64", 400, "An image is not base64"),
    code("invalid_multipart", 400, "The multipart body is malformed"),
    code("body_incomplete", 400, "The body broke off"),
    code("not_found", 404, "There is nothing here"),
    code("method_not_allowed", 405, "The route does not take this method"),
    code("request_timeout", 408, "The body took too long to arrive"),
    code("payload_too_large", 413, "The body is too large"),
    code("unsupported_media_type", 415, "The body is of a type that this route does not take"),
    code("unauthorized", 401, "The admin token is missing or wrong"),
    code("api_key_required", 401, "The API key is missing or wrong"),
    code("admin_disabled", 403, "There is no admin token, so nobody can use /admin"),
    INTERNAL,
    code("deadline_exceeded", 504, "The answer took too long"),
    // Predictions and models.
    code("no_image", 400, "The request has no image"),
    code("too_many_images", 413, "The request has too many images"),
    code("model_required", 400, "No model is named and none is the default"),
    code("model_not_found", 404, "There is no such model"),
    code("version_not_found", 404, "The model has no such version"),
    code("model_unavailable", 503, "The model can't be served at present"),
    code("model_unloaded", 503, "The model was unloaded"),
    code("invalid_tensor", 400, "A tensor is not what the model takes"),
    code("no_room_to_load", 503, "There is no memory for this version beside those that are served"),
    code("queue_full", 429, "The queue is full"),
    code("bodies_full", 429, "The bodies of requests fill the memory that they may take"),
    code("draining", 503, "The server is shutting down"),
    // Images.
    code("image_empty", 422, "The image file is empty"),
    code("image_unrecognised", 422, "The file is no image of a known format"),
    code("image_too_large", 413, "The image file is too large"),
    code("image_too_many_pixels", 413, "The image has too many pixels"),
    code("image_too_much_memory", 413, "Decoding the image would take too much memory"),
    code("image_too_many_scans", 422, "The JPEG has more scans than any honest one"),
    code("image_truncated", 422, "The image file ends before its image does"),
    code("image_corrupt", 422, "The image file is damaged"),
    code("image_unsupported", 422, "The image is of a kind that is not read"),
    code("preprocessing_channels_unsupported", 422, "The network reads neither 1 nor 3 channels"),
    code("preprocessing_color_mismatch", 422, "The preprocessing gives other channels than the network reads"),
    code("preprocessing_not_finite", 422, "The preprocessing holds a number that is not finite"),
    code("preprocessing_wrong_length", 422, "The preprocessing has not one value per channel"),
    code("preprocessing_std_not_positive", 422, "The preprocessing divides by zero or less"),
    code("preprocessing_overflow", 422, "The preprocessing leaves the range of numbers"),
    // Architectures and weights.
    code("json_too_deep", 422, "The document is nested too deep"),
    code("not_a_model", 422, "The document is no Keras model"),
    code("unsupported_model", 422, "The model is of a kind that can't be computed"),
    code("no_layers", 422, "The model has no layers"),
    code("too_many_layers", 422, "The model has too many layers"),
    code("too_many_parameters", 422, "The model has too many weights"),
    code("unknown_layer", 422, "The layer is not known"),
    code("custom_object", 422, "The model has code of its own, which is not run"),
    code("missing_field", 422, "The layer lacks a field"),
    code("invalid_field", 422, "The layer's field can't have this value"),
    code("unsupported_option", 422, "The layer's option can't be computed"),
    code("unknown_field", 422, "The layer has no such field"),
    code("channels_first", 422, "The layer keeps channels first"),
    code("no_input_shape", 422, "The model does not say what it takes"),
    code("incompatible_input", 422, "The layer can't take what comes in"),
    code("duplicate_layer_name", 422, "Two layers have one name"),
    code("layer_too_large", 422, "The layer's output is too large"),
    code("not_a_classifier", 422, "The network does not give a score per class"),
    code("weights_mismatch", 422, "The weights are not those of the architecture"),
    code("weights_not_finite", 422, "A weight is no finite number"),
    // Model files.
    code("no_file", 400, "The request has no model file"),
    code("model_file_unrecognized", 422, "The file is no model file of a known kind"),
    code("hdf5_malformed", 422, "The HDF5 file is damaged"),
    code("hdf5_not_keras", 422, "The HDF5 file holds no Keras model"),
    code("keras_archive_malformed", 422, "The .keras file is damaged"),
    code("model_file_too_large", 413, "The model file holds too much"),
    code("model_file_json_malformed", 422, "The model file holds JSON that can't be read"),
    code("architecture_missing", 422, "The file has weights alone, and no architecture was sent"),
    code("hdf5_names_missing", 422, "The HDF5 file does not name its weights"),
    code("channels_first_unsupported", 422, "The model keeps channels first and can't be turned"),
    code("weights_not_float", 422, "The weights are no floating-point numbers"),
    code("safetensors_malformed", 422, "The safetensors file is damaged"),
    code("parameters_inconsistent", 422, "A tensor has other values than its shape says"),
    // Versions.
    code("invalid_model_name", 422, "This can't be the name of a model"),
    code("invalid_alias", 422, "This can't be an alias"),
    code("alias_not_found", 404, "The model has no such alias"),
    code("version_broken", 503, "The version is broken"),
    code("no_good_version", 503, "All versions of the model are broken"),
    code("version_is_serving", 409, "The version is being served"),
    code("version_is_aliased", 409, "An alias stands for the version"),
    code("nothing_to_roll_back", 409, "No version was served before"),
    code("aliases_unreadable", 409, "The model's aliases can't be read"),
    code("too_many_aliases", 409, "The model has as many aliases as it may have"),
    code("version_numbers_exhausted", 409, "The model has used the highest version number"),
    code("models_not_writable", 409, "Nothing can be written where the models are"),
    code("repository_io", 500, "The model folder failed"),
    code("file_missing", 422, "A file of the version is missing"),
    code("file_unreadable", 500, "A file of the version can't be read"),
    code("file_too_large", 413, "A file of the version is too large"),
    code("file_malformed", 422, "A file of the version is malformed"),
    code("card_format", 422, "The card is of a form that is not known"),
    code("weights_digest_mismatch", 422, "The weights are not those that the card says"),
    code("parameter_count_mismatch", 422, "The card counts the weights wrongly"),
    code("labels_mismatch", 422, "The labels are not as many as the outputs, or are others"),
    code("label_blank", 422, "A label is blank"),
    code("evaluation_mismatch", 422, "The evaluation is of other classes"),
    code("golden_malformed", 422, "The golden answers of the version are malformed"),
    code("self_test_failed", 422, "The network does not give its golden answers any more"),
    // Evaluations.
    code("evaluation_not_found", 404, "The version was never evaluated"),
    code("history_not_found", 404, "The version has no history"),
    code("class_count", 422, "There are too few or too many classes"),
    code("score_count", 422, "There are not as many scores as classes"),
    code("truth_out_of_range", 422, "A true class is not one of the labels"),
    code("no_images", 422, "There is no image to evaluate"),
    code("non_finite_metric", 422, "A figure of the training is no finite number"),
    code("no_epochs", 409, "The history has no epochs"),
    code("too_many_classes_to_draw", 409, "There are too many classes for a picture"),
    code("confusion_matrix_shape", 409, "The evaluation contradicts itself"),
    code("drawing_failed", 500, "The picture could not be drawn"),
    // Data sets.
    code("invalid_dataset_name", 422, "This can't be the name of a data set"),
    code("dataset_not_found", 404, "There is no such data set"),
    code("dataset_in_use", 409, "A job uses the data set"),
    code("dataset_part_not_found", 422, "The data set has no such part"),
    code("dataset_unreadable", 500, "The data set can't be read"),
    code("dataset_store_io", 500, "The data set folder failed"),
    code("storage_full", 507, "The disk is full"),
    code("dataset_cancelled", 409, "Reading the data set was cancelled"),
    code("dataset_unrecognised", 422, "The file is no data set of a known kind"),
    code("archive_unsafe_path", 422, "The archive holds a name that leads out of it"),
    code("archive_link", 422, "The archive holds a link"),
    code("archive_special_file", 422, "The archive holds what is neither file nor folder"),
    code("archive_duplicate_name", 422, "The archive holds a name twice"),
    code("archive_nested", 422, "The archive holds another archive"),
    code("archive_encrypted", 422, "The archive is encrypted"),
    code("archive_unsupported", 422, "The archive is packed in a way that is not read"),
    code("archive_too_large", 413, "Unpacked, the archive is too large"),
    code("archive_overlap", 422, "Files in the archive share bytes"),
    code("archive_corrupt", 422, "The archive is damaged"),
    code("dataset_too_many_images", 413, "The data set has too many files"),
    code("dataset_too_many_classes", 413, "The data set has too many classes"),
    code("dataset_too_large_in_memory", 413, "Fitted to the network, the images take too much memory"),
    code("dataset_dimensions_invalid", 422, "Images can't be fitted to the network's input"),
    code("dataset_no_images", 422, "The data set has no images"),
    code("dataset_single_class", 422, "The data set has a single class"),
    code("dataset_empty_class", 422, "A class has no images to train on"),
    code("dataset_bad_file", 422, "A file of the data set is no image"),
    code("idx_unpaired", 422, "An IDX file lacks its counterpart"),
    code("idx_invalid", 422, "An IDX file is malformed"),
    code("split_fraction_invalid", 422, "This share of the images can't be held out"),
    code("class_too_small", 422, "A class has too few images to split"),
    // Training.
    code("invalid_compile", 422, "A setting of compile can't be used"),
    code("invalid_setting", 422, "A setting of the training can't be used"),
    code("architecture_required", 422, "There is no architecture to train"),
    code("input_not_an_image", 422, "The network does not take images"),
    code("augmentation_not_supported", 422, "The network has a layer that can't be trained yet"),
    code("loss_not_finite", 422, "The loss became infinite or not a number"),
    code("cancelled", 409, "The job was cancelled"),
    code("too_many_jobs", 429, "Too many jobs are waiting"),
    code("job_not_found", 404, "There is no such job"),
];
