//! The pages for people.

use serde_json::json;

use super::support::{Answered, Server};

async fn get(server: &Server, path: &str, media_type: &str) -> Answered {
    let answer = server.get(path).send().await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, media_type), "{path}");
    assert_eq!((answer.header("cache-control"), answer.header("x-content-type-options")), ("no-cache", "nosniff"));
    let etag = answer.header("etag").to_owned();
    assert!(etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"'));
    let again = server.get(path).header("if-none-match", &etag).send().await;
    assert_eq!((again.status.as_u16(), again.bytes.len(), again.header("etag")), (304, 0, etag.as_str()));
    answer
}

/// Whatever a page loads must be here, and its policy must not need exceptions for what stands in the page.
async fn check_page(server: &Server, path: &str) {
    let page = get(server, path, "text/html; charset=utf-8").await;
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; "), "{policy}");
    let text = String::from_utf8(page.bytes.clone()).expect("UTF-8");
    for attribute in ["src=\"", "href=\""] {
        for target in text.split(attribute).skip(1).filter_map(|rest| rest.split('"').next()) {
            if target.starts_with('#') {
                continue;
            }
            assert!(target.starts_with('/') && !target.starts_with("//"), "{target} in {path}");
            let found = server.get(target).send().await;
            assert_eq!(found.status.as_u16(), 200, "{target} in {path}");
        }
    }
    for forbidden in ["<style", "style=", "onclick=", "onload=", "javascript:"] {
        assert!(!text.contains(forbidden), "{forbidden} in {path}");
    }
    assert!(text.split("<script").skip(1).all(|script| script.contains("></script>") && script.contains("src=")), "{path}");
}

#[tokio::test]
async fn the_home_page_loads_nothing_from_elsewhere() {
    let server = Server::start();
    for path in ["/", "/new", "/top", "/p/anything", "/p/anything/present", "/p/anything/embed"] {
        check_page(&server, path).await;
    }
    get(&server, "/assets/main.js", "text/javascript; charset=utf-8").await;
    get(&server, "/assets/vendor/lean-qr/index.mjs", "text/javascript; charset=utf-8").await;
    get(&server, "/assets/style/base.css", "text/css; charset=utf-8").await;
    get(&server, "/assets/vendor/figtree/files/figtree-latin-wght-normal.woff2", "font/woff2").await;
    get(&server, "/favicon.svg", "image/svg+xml").await;
}

#[tokio::test]
async fn other_sites_may_frame_results_and_nothing_that_can_be_pressed() {
    let server = Server::start();
    for (path, expected) in
        [("/p/x/embed", "frame-ancestors *"), ("/p/x", "frame-ancestors 'none'"), ("/", "frame-ancestors 'none'")]
    {
        let page = server.get(path).send().await;
        let policy = page.header("content-security-policy");
        assert!(policy.ends_with(expected), "{path}: {policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("data:"), "{path}: {policy}");
    }
}

#[tokio::test]
async fn pages_take_nothing_but_reads() {
    let server = Server::start();
    for path in ["/", "/new", "/p/x", "/assets/main.js"] {
        let answer = server.post(path, &json!({})).send().await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "GET, HEAD"), "{path}");
    }
}

#[tokio::test]
async fn the_documentation_is_served_from_here_alone() {
    let server = Server::start();
    check_page(&server, "/docs").await;
    let script = get(&server, "/docs/init.js", "text/javascript; charset=utf-8").await;
    let script = String::from_utf8(script.bytes).expect("UTF-8");
    assert!(script.contains("/openapi.json") && !script.contains("http"));
    let bundle = get(&server, "/docs/swagger-ui-bundle.js", "text/javascript; charset=utf-8").await;
    assert!(bundle.bytes.len() > 1_000_000);
    get(&server, "/docs/swagger-ui.css", "text/css; charset=utf-8").await;
    get(&server, "/openapi.json", "application/json").await;
    get(&server, "/asyncapi.json", "application/json").await;
}

#[tokio::test]
async fn every_problem_has_its_page() {
    let server = Server::start();
    for kind in polling_server::api::problem_kind::ProblemKind::ALL {
        check_page(&server, &format!("/problems/{}", kind.facts().name)).await;
    }
}
