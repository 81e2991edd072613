//! Which files are embedded, where they are served, and under which policy.

/// Nothing from elsewhere, and no script or style within the page itself.
pub(super) const PAGE: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; \
                               connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// The same for the one view that other sites may show in a frame: all that can be pressed in it is a link that leads out of it.
const FRAME: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; \
                     base-uri 'none'; form-action 'none'; frame-ancestors *";
/// Swagger UI draws its icons from data addresses and sets styles on its elements.
const DOCS: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file that is part of the program.
pub(super) struct File {
    /// Where it is served; a part in braces stands for any one.
    pub(super) path: &'static str,
    /// Where it is in the sources. The end of its name says what type it has.
    pub(super) source: &'static str,
    /// What is in it.
    pub(super) bytes: &'static [u8],
    /// Its content security policy.
    pub(super) policy: &'static str,
}

/// Single files: `path => source, policy;` each.
macro_rules! files {
    ($($path:literal => $source:literal, $policy:ident;)+) => {
        &[$(File { path: $path, source: $source, bytes: include_bytes!($source), policy: $policy }),+]
    };
}

/// Files of a folder that keep their names: `folder => path: names`.
macro_rules! folder {
    ($folder:literal => $path:literal: $($name:literal)+) => {
        &[$(File {
            path: concat!($path, $name),
            source: concat!($folder, $name),
            bytes: include_bytes!(concat!($folder, $name)),
            policy: PAGE,
        }),+]
    };
}

/// The addresses of people. The page itself finds out which view an address means.
const PAGES: &[File] = files! {
    "/" => "assets/index.html", PAGE;
    "/new" => "assets/index.html", PAGE;
    "/top" => "assets/index.html", PAGE;
    "/p/{poll}" => "assets/index.html", PAGE;
    "/p/{poll}/present" => "assets/index.html", PAGE;
    "/p/{poll}/embed" => "assets/index.html", FRAME;
    "/favicon.svg" => "assets/favicon.svg", PAGE;
    "/docs" => "assets/docs/index.html", DOCS;
    "/docs/init.js" => "assets/docs/init.js", DOCS;
    "/docs/page.css" => "assets/docs/page.css", DOCS;
    "/docs/swagger-ui.css" => "vendor/swagger-ui/swagger-ui.css", DOCS;
    "/docs/swagger-ui-bundle.js" => "vendor/swagger-ui/swagger-ui-bundle.js", DOCS;
};

/// What the page is made of.
const PARTS: &[File] = folder! {
    "assets/" => "/assets/":
    "announce.js" "api.js" "arrange.js" "backoff.js" "ballot.js" "board.js" "card.js" "cast.js" "chart.js" "connection.js"
    "copy.js" "dialog.js" "dom.js" "early.js" "flip.js" "focus.js" "format.js" "history.js" "link.js" "live.js" "main.js"
    "memory.js" "options.js" "owner.js" "phase.js" "pulse.js" "qr.js" "ranking.js" "results.js" "router.js" "share.js"
    "shell.js" "speech.js" "standing.js" "summary.js" "texts.js" "throttle.js" "watch.js"
    "texts/de.js" "texts/en.js"
    "views/create.js" "views/embed.js" "views/failed.js" "views/home.js" "views/leaderboard.js" "views/poll.js" "views/present.js"
    "style/base.css" "style/controls.css" "style/poll.css" "style/show.css" "style/views.css"
};

/// What others have made of it; `.ci/vendor` checks that it is unchanged.
const VENDORED: &[File] = folder! {
    "vendor/" => "/assets/vendor/":
    "figtree/files/figtree-latin-ext-wght-normal.woff2"
    "figtree/files/figtree-latin-wght-normal.woff2"
    "lean-qr/index.mjs"
    "uplot/dist/uPlot.iife.min.js"
    "uplot/dist/uPlot.min.css"
};

/// All of them.
pub(super) fn files() -> impl Iterator<Item = &'static File> {
    [PAGES, PARTS, VENDORED].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn walk(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).expect("the folder is read") {
            let path = entry.expect("the entry is read").path();
            if path.is_dir() {
                walk(&path, found);
            } else {
                found.push(path.to_string_lossy().replace('\\', "/"));
            }
        }
    }

    #[test]
    fn every_file_of_the_page_is_served() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/page");
        let mut found = Vec::new();
        walk(&page.join("assets"), &mut found);
        for path in found {
            assert!(files().any(|file| path.ends_with(&format!("/page/{}", file.source))), "{path} is served nowhere");
        }
    }

    #[test]
    fn one_view_alone_may_be_framed() {
        let framed: Vec<&str> =
            files().filter(|file| !file.policy.ends_with("frame-ancestors 'none'")).map(|file| file.path).collect();
        assert_eq!(framed, ["/p/{poll}/embed"]);
    }
}
