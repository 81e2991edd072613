//! What a client sees of a program.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;

/// Longer than the programs take for any answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// One listener of one program.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    address: SocketAddr,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let http = reqwest::Client::builder().timeout(TIMEOUT).build().expect("a client");
        Self { http, address }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("http://{}{path}", self.address))
    }

    async fn json(response: Result<Response, reqwest::Error>) -> (u16, Value) {
        let response = response.expect("an answer");
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or_default())
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        Self::json(self.request(Method::GET, path).send().await).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        Self::json(self.request(Method::POST, path).json(body).send().await).await
    }

    pub(crate) async fn delete(&self, path: &str) -> (u16, Value) {
        Self::json(self.request(Method::DELETE, path).send().await).await
    }

    /// An answer that is not JSON. Nobody there: status 0.
    pub(crate) async fn text(&self, path: &str) -> (u16, String) {
        let Ok(response) = self.request(Method::GET, path).send().await else { return (0, String::new()) };
        let status = response.status().as_u16();
        (status, response.text().await.unwrap_or_default())
    }

    /// The status of an answer, and one of its headers.
    pub(crate) async fn header(&self, path: &str, name: &str) -> (u16, Option<String>) {
        let response = self.request(Method::GET, path).send().await.expect("an answer");
        let value = response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        (response.status().as_u16(), value)
    }

    /// The sum of a metric over its labels.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.text("/metrics").await;
        let of_metric = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
        let values = text.lines().filter(of_metric).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum()
    }
}
