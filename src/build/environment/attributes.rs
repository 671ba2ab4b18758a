//! Structured attributes as they are written down for a builder.

use super::{EnvironmentError, ReferencesGraph, graph};
use crate::model::derivation::options::BuildOptions;
use crate::model::json::{Json, JsonObject, push_object};
use crate::model::store_path::StoreDir;

/// The attributes, with where each output lies, and with what `exportReferencesGraph` describes.
///
/// # Errors
/// Those of `graph`.
pub fn structured(
    attributes: &JsonObject,
    outputs: impl Iterator<Item = (String, String)>,
    options: &BuildOptions,
    dir: &StoreDir,
    graph: ReferencesGraph<'_>,
) -> Result<JsonObject, EnvironmentError> {
    let mut members = attributes.clone();
    let outputs = outputs.map(|(name, text)| (name, Json::String(text)));
    members.insert("outputs".to_owned(), Json::Object(outputs.collect()));
    for (name, paths) in &options.export_references_graph {
        members.insert(name.clone(), graph::json(dir, &graph(paths)?));
    }
    Ok(members)
}

/// They as a text: one line without blanks and without its end.
pub fn json(members: &JsonObject) -> Vec<u8> {
    let mut json = Vec::new();
    push_object(members, &mut json);
    json
}
