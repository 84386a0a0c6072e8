//! A failure as a person wants to read it: where, what was wanted, what was got, the source line, what to do.

use std::path::Path;

use super::style::{Look, Tone};
use crate::script::{Failure, Script};

/// Renders a failure, indented by `indent` columns. `script` gives the source line, `folder` the place of pictures.
pub fn render(
    failure: &Failure,
    script: Option<&Script>,
    folder: Option<&Path>,
    indent: usize,
    look: Look,
) -> String {
    let pad = " ".repeat(indent);
    let mut text = String::new();
    let mut line = |line: String| {
        text.push_str(&pad);
        text.push_str(&line);
        text.push('\n');
    };
    let mut message = failure.message.lines();
    let first = message.next().unwrap_or("failed without a word");
    let place = failure.place.as_ref().map(|place| look.paint(Tone::Place, place) + ": ").unwrap_or_default();
    line(format!("{place}{}", look.paint(Tone::Bad, printable(first))));
    for rest in message {
        line(format!("  {}", printable(rest)));
    }
    if let (Some(place), Some(script)) = (&failure.place, script)
        && script.path == Path::new(&place.file)
    {
        let first = place.line.saturating_sub(CONTEXT_LINES).max(1);
        for number in first..=place.line {
            let Some(source) = script.line(number) else { continue };
            let mark = if number == place.line { look.paint(Tone::Bad, ">") } else { " ".to_owned() };
            line(format!("  {mark} {number:>4} | {}", printable(source)));
        }
    }
    if !failure.steps.is_empty() {
        line(format!(
            "in step {}",
            failure
                .steps
                .iter()
                .map(|step| format!("\"{}\"", printable(step)))
                .collect::<Vec<_>>()
                .join(" > ")
        ));
    }
    if let Some(traceback) = &failure.traceback {
        line("stack traceback:".to_owned());
        for frame in traceback.lines() {
            line(format!("  {}", printable(frame)));
        }
    }
    if let (Some(shot), Some(folder)) = (&failure.screenshot, folder) {
        line(format!("screen: {}", folder.join(shot).display()));
    }
    if let Some(hint) = &failure.hint {
        let mut hint = hint.lines();
        line(format!("{} {}", look.paint(Tone::Warn, "hint:"), printable(hint.next().unwrap_or_default())));
        for rest in hint {
            line(format!("  {}", printable(rest)));
        }
    }
    text
}

/// Control characters would move the cursor of whoever reads this.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() && char != '\t' { '\u{FFFD}' } else { char }).collect()
}

const CONTEXT_LINES: u32 = 2;

/// What is said of misses beside the first one.
pub(super) fn further_misses(count: usize) -> String {
    let expectations = if count == 1 { "expectation" } else { "expectations" };
    format!("and {count} further {expectations} that did not hold")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{FailureKind, Place};

    #[test]
    fn a_failure_shows_place_difference_source_and_remedy() {
        let script = Script { path: "a.lua".into(), source: "one\ntwo\nthree\nfour\n".into() };
        let mut failure = Failure::new(FailureKind::Timeout, "no match\nseen: 3 lines\u{1b}[2J")
            .at(Some(Place { file: "a.lua".to_owned(), line: 4 }))
            .hint("look at the cable");
        failure.steps = vec!["boot".to_owned(), "log\nin".to_owned()];
        failure.screenshot = Some("screenshots/01.png".into());
        let look = Look { color: false, live: false, width: 80 };
        insta::assert_snapshot!(render(&failure, Some(&script), Some(Path::new("logs/x")), 4, look), @r#"
            a.lua:4: no match
              seen: 3 lines�[2J
                   2 | two
                   3 | three
              >    4 | four
            in step "boot" > "log�in"
            screen: logs/x/screenshots/01.png
            hint: look at the cable
        "#);
    }
}
