//! The page of each kind of problem, at the address that its `type` names.

use crate::api::problem_kind::ProblemKind;

/// The page; `None` when there is no such kind.
pub(super) fn page(name: &str) -> Option<String> {
    let facts = ProblemKind::parse(name)?.facts();
    let (title, status) = (facts.title, facts.status);
    let (meaning, advice) = (facts.meaning, facts.advice);
    // Every text is one of ours and has nothing to escape.
    Some(format!(
        "<!doctype html>\n\
         <html lang=\"en\">\n\
         <head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title><link rel=\"stylesheet\" href=\"/assets/style/base.css\">\n\
         <link rel=\"stylesheet\" href=\"/assets/style/controls.css\"><link rel=\"icon\" href=\"/favicon.svg\"></head>\n\
         <body><main class=\"view message\">\n\
         <h1>{title}</h1>\n\
         <p><code>/problems/{name}</code>, HTTP status {status}</p>\n\
         <h2>What it means</h2>\n<p>{meaning}</p>\n\
         <h2>What a client should do</h2>\n<p>{advice}</p>\n\
         <p><a href=\"/docs\">The API</a></p>\n\
         </main></body></html>\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_page_with_nothing_to_escape() {
        for kind in ProblemKind::ALL {
            let facts = kind.facts();
            assert!(page(facts.name).is_some_and(|page| page.contains(facts.meaning)), "{}", facts.name);
            for text in [facts.title, facts.meaning, facts.advice] {
                assert!(!text.contains(['<', '>', '&']), "{text}");
            }
        }
        assert_eq!(page("nothing"), None);
    }
}
