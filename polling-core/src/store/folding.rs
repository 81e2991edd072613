//! Letters without their case, for finding text in questions. Pure.

/// The Greek small letter sigma at the end of a word, and everywhere else.
const FINAL_SIGMA: char = 'ς';
const SIGMA: char = 'σ';

/// The text without its case: of the question that is kept and of what is looked for in it.
///
/// Letter by letter, so that a part of a text folds to a part of the folded text, wherever it is cut. [`str::to_lowercase`] does not
/// do: what it makes of a capital sigma depends on the letters around it, and there are two small ones.
pub(super) fn fold(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).map(|letter| if letter == FINAL_SIGMA { SIGMA } else { letter }).collect()
}

/// What is to be replaced in a question that was folded when it was kept, and by what, before `sought`, which is folded, is looked
/// for in it: two empty texts when nothing is.
///
/// Earlier versions kept [`str::to_lowercase`], which has final sigmas and differs in nothing else. Doing it here rather than once
/// in a migration serves a server of an earlier version that still creates polls beside this one; and only who looks for a sigma pays.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(super) fn refolding(sought: Option<&str>) -> (&'static str, &'static str) {
    if sought.is_some_and(|sought| sought.contains(SIGMA)) { ("ς", "σ") } else { ("", "") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTIONS: [&str; 6] =
        ["ΟΔΟΣΑ ΕΝΑ", "Ποιος ΔΡΟΜΟΣ; Σ", "İstanbul'a mı?", "STRASSE, straße, ẞ", "ﬁsh Ⅷ ǅ", "100% _x_ 🗳️"];

    #[test]
    fn every_part_of_a_text_is_found_in_it() {
        for question in QUESTIONS {
            let letters: Vec<char> = question.chars().collect();
            for (start, end) in (0..=letters.len()).flat_map(|end| (0..=end).map(move |start| (start, end))) {
                let part: String = letters[start..end].iter().collect();
                assert!(fold(question).contains(&fold(&part)), "{part} in {question}");
            }
        }
    }

    #[test]
    fn case_does_not_matter() {
        for same in [["ΟΔΟΣ", "οδος", "οδοσ"], ["ÉTÉ", "été", "Été"]] {
            assert_eq!(same.map(fold), [fold(same[0]), fold(same[0]), fold(same[0])]);
        }
    }

    #[test]
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    fn what_earlier_versions_kept_differs_by_final_sigmas_alone() {
        let (from, to) = refolding(Some("σ"));
        let every_letter: String = (char::MIN..=char::MAX).collect();
        for text in QUESTIONS.into_iter().chain([every_letter.as_str()]) {
            assert_eq!(text.to_lowercase().replace(from, to), fold(text));
        }
        assert_eq!(refolding(Some("ς")), ("", ""), "nothing that is folded has one");
    }
}
