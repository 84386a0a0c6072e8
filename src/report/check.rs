//! What `backstaff check` says.

use std::io::Write;

use serde_json::{Value, json};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::failure::printable;
use super::style::{Look, Tone};
use crate::runner::check::Checked;
use crate::script::lint::{Finding, Lines, Severity, Spot};

/// The name of the JSON document.
const FORMAT: &str = "backstaff-check";
const VERSION: u32 = 1;

/// For people: each finding with its place and its line, and at the end how many there are.
///
/// # Errors
/// The writer fails.
pub fn text(scripts: &[Checked], look: Look, out: &mut impl Write) -> std::io::Result<()> {
    for checked in scripts {
        let lines = checked.script.as_ref().map(|script| Lines::new(&script.source));
        for finding in &checked.findings {
            write_finding(finding, lines.as_ref(), look, out)?;
        }
    }
    let (errors, warnings) = count(scripts);
    let noun = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let looked = noun(scripts.len(), "script");
    if errors + warnings == 0 {
        return writeln!(out, "{looked}, {}", look.paint(Tone::Good, "nothing wrong"));
    }
    let wrong = scripts.iter().filter(|checked| !checked.findings.is_empty()).count();
    let tone = if errors > 0 { Tone::Bad } else { Tone::Warn };
    let said = look.paint(tone, format!("{}, {}", noun(errors, "error"), noun(warnings, "warning")));
    writeln!(out, "{said} in {wrong} of {looked}")
}

/// For programs.
///
/// # Errors
/// The writer fails.
pub fn json(scripts: &[Checked], out: &mut impl Write) -> std::io::Result<()> {
    let findings: Vec<Value> = scripts.iter().flat_map(|checked| &checked.findings).map(value).collect();
    let (errors, warnings) = count(scripts);
    let document = json!({
        "format": FORMAT,
        "version": VERSION,
        "scripts": scripts.len(),
        "errors": errors,
        "warnings": warnings,
        "findings": findings,
    });
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

/// How many errors and warnings there are.
pub fn count(scripts: &[Checked]) -> (usize, usize) {
    let all = || scripts.iter().flat_map(|checked| &checked.findings);
    let errors = all().filter(|finding| finding.rule.severity() == Severity::Error).count();
    (errors, all().count() - errors)
}

fn value(finding: &Finding) -> Value {
    json!({
        "file": finding.file,
        "line": finding.spot.map(|spot| spot.line),
        "column": finding.spot.map(|spot| spot.column),
        "length": finding.spot.map(|spot| spot.length),
        "severity": finding.rule.severity().name(),
        "rule": finding.rule.name(),
        "message": finding.message,
        "hint": finding.hint,
    })
}

fn write_finding(
    finding: &Finding,
    lines: Option<&Lines<'_>>,
    look: Look,
    out: &mut impl Write,
) -> std::io::Result<()> {
    let severity = finding.rule.severity();
    let tone = if severity == Severity::Error { Tone::Bad } else { Tone::Warn };
    let place = match finding.spot {
        Some(Spot { line, column, .. }) => format!("{}:{line}:{column}", finding.file),
        None => finding.file.clone(),
    };
    let mut message = finding.message.lines();
    let rule = look.paint(Tone::Faint, format!("[{}]", finding.rule.name()));
    writeln!(
        out,
        "{}: {}: {} {rule}",
        look.paint(Tone::Place, printable(&place)),
        look.paint(tone, severity.name()),
        printable(message.next().unwrap_or_default()),
    )?;
    for rest in message {
        writeln!(out, "  {}", printable(rest))?;
    }
    if let Some((spot, text)) = finding.spot.and_then(|spot| Some((spot, lines?.text(spot.line)?))) {
        let (text, indent, marks) = excerpt(text, spot, look.width.max(NARROWEST) - GUTTER);
        writeln!(out, "{:>5} | {text}", spot.line)?;
        let marks = look.paint(tone, "^".repeat(marks));
        writeln!(out, "      | {}{marks}", " ".repeat(indent))?;
    }
    if let Some(hint) = &finding.hint {
        let mut hint = hint.lines();
        let first = printable(hint.next().unwrap_or_default());
        writeln!(out, "  {} {first}", look.paint(Tone::Warn, "hint:"))?;
        for rest in hint {
            writeln!(out, "  {}", printable(rest))?;
        }
    }
    writeln!(out)
}

/// A line as it is shown in so many columns: its text, where its marks begin, and how many columns they take.
fn excerpt(line: &str, spot: Spot, columns: usize) -> (String, usize, usize) {
    let column = usize::try_from(spot.column).unwrap_or(usize::MAX).saturating_sub(1);
    let length = usize::try_from(spot.length).unwrap_or(usize::MAX);
    // Of a line that is longer than anybody reads only what is around the place is looked at.
    let skipped = column.saturating_sub(columns);
    let line: String = line.chars().skip(skipped).take(columns.saturating_mul(3)).collect();
    let chars: Vec<char> = printable(&line).replace('\t', " ").chars().collect();
    let column = (column - skipped).min(chars.len());
    let width = |chars: &[char]| chars.iter().map(|char| char.width().unwrap_or(1)).sum::<usize>();
    // So far that the place, or what there is room for of it, stands in the window.
    let end = column.saturating_add(length.max(1)).min(chars.len().max(column));
    let mut from = 0;
    if skipped > 0 || width(&chars[..end]) > columns {
        while from < column && width(&chars[from..end]) + 1 > columns {
            from += 1;
        }
    }
    let is_cut = skipped > 0 || from > 0;
    let mut text: String = if is_cut { "…".to_owned() } else { String::new() };
    let indent = text.width() + width(&chars[from..column]);
    let mut last = from;
    while last < chars.len() && text.width() + chars[last].width().unwrap_or(1) <= columns {
        text.push(chars[last]);
        last += 1;
    }
    let marks = width(&chars[column..end.min(last).max(column)]).max(1);
    (text.trim_end().to_owned(), indent, marks)
}

/// What stands before the text of a line.
const GUTTER: usize = 8;
const NARROWEST: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_shown_around_its_place() {
        let spot = |column, length| Spot { line: 1, column, length };
        let shown = |line: &str, at: Spot, columns| {
            let (text, indent, marks) = excerpt(line, at, columns);
            format!("{text}\n{}{}", " ".repeat(indent), "^".repeat(marks))
        };
        assert_eq!(shown("  t:stpe(1)", spot(5, 4), 40), "  t:stpe(1)\n    ^^^^");
        assert_eq!(shown("x = 'ä漢' .. yy", spot(13, 2), 40), "x = 'ä漢' .. yy\n             ^^");
        assert_eq!(shown("\tfoo()", spot(2, 3), 40), " foo()\n ^^^");
        assert_eq!(shown("", spot(1, 0), 40), "\n^");
        let long = format!("{}wrong{}", "a ".repeat(500_000), " b".repeat(500_000));
        let text = shown(&long, spot(1_000_001, 5), 30);
        let mut lines = text.lines();
        assert!(lines.next().is_some_and(|line| line.starts_with('…') && line.contains("wrong")), "{text}");
        assert!(text.lines().all(|line| line.width() <= 30), "{text}");
        assert_eq!(
            text.find("wrong").map(|at| at - '…'.len_utf8() + 1),
            text.lines().nth(1).and_then(|l| l.find('^'))
        );
    }
}
