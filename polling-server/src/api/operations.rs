//! All operations together, and the paths and methods that they have.

use std::collections::{BTreeMap, HashMap};
use std::marker::PhantomData;
use std::sync::Arc;

use poem::endpoint::BoxEndpoint;
use poem::http::Method;
use poem_openapi::registry::{MetaApi, Registry};
use poem_openapi::{OpenApi, OpenApiService};

use super::batch::Batches;
use super::history::Histories;
use super::leaderboard::Leaderboard;
use super::live_document::LiveDocument;
use super::polls::Polls;
use super::vote_desk::VoteDesk;
use super::votes::Votes;
use crate::service::Service;

/// The operations that are served by this module.
type Served = (Polls, Votes, Batches, Histories, Leaderboard);
/// The operations that the document describes.
pub(crate) type Documented = (Polls, Votes, Batches, Histories, Leaderboard, LiveDocument);

/// The title of the API.
pub(crate) const TITLE: &str = "Polling";

/// The endpoints of the operations.
pub(crate) fn operations(service: &Arc<Service>, desk: &Arc<VoteDesk>) -> OpenApiService<Served, ()> {
    let (polls, histories) = (Polls::new(Arc::clone(service)), Histories::new(Arc::clone(service)));
    let served = (polls, Votes(Arc::clone(desk)), Batches(Arc::clone(desk)), histories, Leaderboard(Arc::clone(service)));
    OpenApiService::new(served, TITLE, env!("CARGO_PKG_VERSION"))
}

/// Describes operations without having what it takes to serve them.
pub(crate) struct DescriptionOf<T>(pub(crate) PhantomData<T>);

impl<T: OpenApi> OpenApi for DescriptionOf<T> {
    fn meta() -> Vec<MetaApi> {
        T::meta()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn add_routes(self, _route_table: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {}
}

/// Which methods each path takes, for the `Allow` header.
pub(crate) struct MethodTable(Vec<(Vec<Segment>, String)>);

/// A part of a path between slashes.
enum Segment {
    Word(String),
    Parameter,
}

impl MethodTable {
    /// The paths of the document, and these beside it, which take GET.
    pub(crate) fn new(pages: &[&str]) -> Self {
        let mut methods: BTreeMap<String, Vec<String>> =
            pages.iter().map(|&path| (path.to_owned(), vec![Method::GET.to_string()])).collect();
        for path in Documented::meta().into_iter().flat_map(|api| api.paths) {
            let of_path = methods.entry(path.path).or_default();
            of_path.extend(path.operations.iter().map(|operation| operation.method.to_string()));
        }
        Self(methods.into_iter().map(|(path, methods)| (segments(&path), allow(methods))).collect())
    }

    /// The methods that `path` takes, as the `Allow` header names them; empty for an unknown path.
    pub(crate) fn allow(&self, path: &str) -> &str {
        let parts: Vec<&str> = path.split('/').collect();
        let fits = |segments: &[Segment]| {
            segments.len() == parts.len()
                && segments.iter().zip(&parts).all(|(segment, part)| match segment {
                    Segment::Word(word) => word == part,
                    Segment::Parameter => true,
                })
        };
        self.0.iter().find(|(segments, _)| fits(segments)).map_or("", |(_, methods)| methods)
    }
}

fn segments(path: &str) -> Vec<Segment> {
    let is_parameter = |part: &str| part.starts_with('{') && part.ends_with('}');
    path.split('/').map(|part| if is_parameter(part) { Segment::Parameter } else { Segment::Word(part.to_owned()) }).collect()
}

fn allow(mut methods: Vec<String>) -> String {
    if methods.iter().any(|method| method == "GET") {
        methods.push(Method::HEAD.to_string());
    }
    methods.sort_unstable();
    methods.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_allows_what_the_document_says() {
        let table = MethodTable::new(&["/", "/problems/{name}"]);
        assert_eq!(table.allow("/polls"), "GET, HEAD, POST");
        assert_eq!(table.allow("/polls/x"), "DELETE, GET, HEAD");
        assert_eq!(table.allow("/polls/x/vote"), "DELETE, POST");
        assert_eq!(table.allow("/polls/x/live"), "GET, HEAD");
        assert_eq!(table.allow("/polls/x/history"), "GET, HEAD");
        assert_eq!(table.allow("/"), "GET, HEAD");
        assert_eq!(table.allow("/problems/x"), "GET, HEAD");
        assert_eq!(table.allow("/nowhere"), "");
    }
}
