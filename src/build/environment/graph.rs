//! What a builder is told of closures of its inputs (`exportReferencesGraph`).

use std::collections::{BTreeMap, BTreeSet};

use crate::model::ValidPathInfo;
use crate::model::derivation::Bytes;
use crate::model::json::{Json, JsonObject};
use crate::model::store_path::{StoreDir, StorePath};
use crate::store::api::Store;
use crate::store::error::Result;
use crate::store::graph::closure_sizes::closure_sizes;

/// A path of a closure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedPath {
    /// What is known of it.
    pub info: ValidPathInfo,
    /// Bytes of the archives of everything that it leads to, itself included.
    pub closure_size: u64,
}

/// The closure of some paths, sorted; where a derivation is in it, so are the valid outputs of that
/// one and what they lead to.
///
/// # Errors
/// [`StoreError`](crate::store::error::StoreError), also for a path that is not valid.
pub fn references_graph(store: &dyn Store, paths: &BTreeSet<StorePath>) -> Result<Vec<DescribedPath>> {
    let roots: Vec<StorePath> = paths.iter().cloned().collect();
    let graph = store.queries().closure(&roots, true)?;
    let sizes = closure_sizes(&graph, |node| graph.nar_size(node))?;
    let sizes: BTreeMap<StorePath, u64> =
        graph.nodes().zip(sizes).map(|(node, size)| Ok((graph.path(node)?, size))).collect::<Result<_>>()?;
    let all: Vec<StorePath> = sizes.keys().cloned().collect();
    let items = store.items(&all)?.into_iter().flatten();
    let describe = |info: ValidPathInfo| DescribedPath {
        closure_size: sizes.get(&info.path).copied().unwrap_or(info.nar_size),
        info,
    };
    Ok(items.map(|item| describe(item.info)).collect())
}

/// As a text, for each path: the path, its deriver (always an empty line), the number of its
/// references, and the references, a line each.
pub fn text(dir: &StoreDir, paths: &[DescribedPath]) -> Bytes {
    let mut text = String::new();
    for DescribedPath { info, .. } in paths {
        text.push_str(&format!("{}\n\n{}\n", dir.display(&info.path), info.references.len()));
        for reference in &info.references {
            text.push_str(&format!("{}\n", dir.display(reference)));
        }
    }
    text.into_bytes()
}

/// As a list of objects.
pub fn json(dir: &StoreDir, paths: &[DescribedPath]) -> Json {
    let number = |number: u64| Json::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    let path = |path: &StorePath| Json::String(dir.print(path));
    let describe = |DescribedPath { info, closure_size }: &DescribedPath| {
        let mut members = JsonObject::from([
            ("closureSize".to_owned(), number(*closure_size)),
            ("narHash".to_owned(), Json::String(info.nar_hash.to_string())),
            ("narSize".to_owned(), number(info.nar_size)),
            ("path".to_owned(), path(&info.path)),
            ("references".to_owned(), Json::List(info.references.iter().map(path).collect())),
            ("valid".to_owned(), Json::Boolean(true)),
        ]);
        if let Some(ca) = &info.ca {
            members.insert("ca".to_owned(), Json::String(ca.to_string()));
        }
        Json::Object(members)
    };
    Json::List(paths.iter().map(describe).collect())
}
