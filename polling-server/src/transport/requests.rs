//! Counts requests and their durations, by operation and class of status.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arc_swap::ArcSwap;
use hyper::{Method, StatusCode};
use metrics::{Counter, Histogram, Label};

/// Counts requests, with the operation as the router knows it and the class of the status.
pub const REQUESTS: &str = "polling_http_requests_total";
/// Seconds from the head of a request to the head of its answer.
pub const REQUEST_SECONDS: &str = "polling_http_request_seconds";

/// Methods that have a label of their own; a client can invent others without end.
const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::DELETE, Method::PUT, Method::PATCH, Method::OPTIONS];
/// The label of any other method, and of a path that no route matches.
const OTHER: &str = "other";
/// `1xx` to `5xx`.
const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// One operation, with handles that are made when they are first needed, so that nothing is shown that never happened.
struct Operation {
    name: Arc<str>,
    by_method: [OnceLock<Handles>; METHODS.len() + 1],
}

impl Operation {
    fn new(name: &str) -> Self {
        Self { name: name.into(), by_method: Default::default() }
    }

    fn count(&self, method: usize, status: StatusCode, started: Instant) {
        let handles = self.by_method[method]
            .get_or_init(|| Handles::new(Arc::clone(&self.name), METHODS.get(method).map_or(OTHER, static_name)));
        handles.count(status);
        handles.seconds.record(started.elapsed().as_secs_f64());
    }
}

struct Handles {
    method: &'static str,
    operation: Arc<str>,
    by_class: [OnceLock<Counter>; STATUS_CLASSES.len()],
    seconds: Histogram,
}

impl Handles {
    fn new(operation: Arc<str>, method: &'static str) -> Self {
        let labels = vec![Label::new("operation", Arc::clone(&operation)), Label::from_static_parts("method", method)];
        let seconds = metrics::histogram!(REQUEST_SECONDS, labels);
        Self { method, operation, by_class: Default::default(), seconds }
    }

    fn count(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, STATUS_CLASSES.len()) - 1;
        let counter = self.by_class[class].get_or_init(|| {
            let labels = vec![
                Label::new("operation", Arc::clone(&self.operation)),
                Label::from_static_parts("method", self.method),
                Label::from_static_parts("status", STATUS_CLASSES[class]),
            ];
            metrics::counter!(REQUESTS, labels)
        });
        counter.increment(1);
    }
}

/// Counts the requests of one listener.
///
/// The operations are the patterns of the router, so there are as many as routes, whatever paths clients think of.
pub struct Requests {
    /// By pattern.
    operations: ArcSwap<Operations>,
    unmatched: Operation,
}

/// Patterns are of our own making, so a hash that nobody has to guard against is enough.
type Operations = HashMap<Arc<str>, Arc<Operation>, foldhash::fast::RandomState>;

impl Default for Requests {
    fn default() -> Self {
        Self { operations: ArcSwap::default(), unmatched: Operation::new(OTHER) }
    }
}

impl Requests {
    /// Counts nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a request with `method` that came at `started`, and was answered with `status` by the route with `pattern`.
    pub fn count(&self, method: usize, pattern: Option<&str>, status: StatusCode, started: Instant) {
        let Some(pattern) = pattern else { return self.unmatched.count(method, status, started) };
        if let Some(operation) = self.operations.load().get(pattern) {
            return operation.count(method, status, started);
        }
        self.operations.rcu(|operations| {
            let mut operations = Operations::clone(operations);
            operations.entry(pattern.into()).or_insert_with(|| Arc::new(Operation::new(&template(pattern))));
            operations
        });
        if let Some(operation) = self.operations.load().get(pattern) {
            operation.count(method, status, started);
        }
    }
}

/// The number under which a method is counted.
#[must_use]
pub fn method_number(method: &Method) -> usize {
    METHODS.iter().position(|known| known == method).unwrap_or(METHODS.len())
}

/// The pattern without the names of its parameters, `/polls/{}` for `/polls/:poll_id`: generated routes have other names than
/// those written by hand. A pattern of nothing is that of a group of routes of which none matched.
fn template(pattern: &str) -> String {
    if pattern.is_empty() {
        return OTHER.to_owned();
    }
    let segments = pattern.split('/').map(|segment| if segment.starts_with(':') { "{}" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

fn static_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_has_one_name_whatever_its_parameters_are_called() {
        assert_eq!(template("/polls/:param0/vote"), "/polls/{}/vote");
        assert_eq!(template("/polls/:poll_id/vote"), "/polls/{}/vote");
        assert_eq!(template("/leaderboard"), "/leaderboard");
        assert_eq!(template(""), OTHER);
    }
}
