//! `-- backstaff: allow(rule) reason`: comments that silence findings, and what is wrong with those.

use super::place::Lines;
use super::syntax::{Block, Program, Statement, StatementKind};
use super::{Raw, Rule, near, shortened};

/// Takes out what is allowed, and adds what is wrong with the comments that allow.
pub(super) fn apply(source: &str, program: &Program, found: &mut Vec<Raw>) {
    let lines = Lines::new(source);
    let mut wrong = Vec::new();
    let directives = program.comments.iter().filter_map(|comment| {
        let text = directive(&source[comment.start..comment.end])?;
        Some((comment.start, comment.end, text))
    });
    for (start, end, text) in directives.take(MOST_COMMENTS) {
        let mut say = |rule, message: String, hint: Option<String>| {
            wrong.push(Raw { rule, start, end, message: shortened(message), hint });
        };
        let how = || Some(format!("such as `-- backstaff: allow({}) WHY`", Rule::NoWaitAfterInput.name()));
        let Some((names, reason)) = text.strip_prefix("allow(").and_then(|rest| rest.split_once(')')) else {
            say(Rule::WrongAllow, "`backstaff:` in a comment wants `allow(RULE) REASON`".to_owned(), how());
            continue;
        };
        let covered = covered(source, program, &lines, start, end);
        for name in names.split(',').map(str::trim) {
            let rules = Rule::ALL.iter().filter(|rule| is_of_the_text(**rule));
            let Some(rule) = rules.clone().find(|rule| rule.name() == name).copied() else {
                let close = near(name, rules.clone().map(|rule| rule.name()));
                let message = match close {
                    Some(close) => {
                        format!("no rule that can be allowed is called `{name}`, did you mean `{close}`?")
                    }
                    None => format!("no rule that can be allowed is called `{name}`"),
                };
                let known: Vec<&str> = rules.map(|rule| rule.name()).collect();
                let hint = close.is_none().then(|| format!("rules: {}", known.join(", ")));
                say(Rule::WrongAllow, message, hint);
                continue;
            };
            let before = found.len();
            found.retain(|raw| raw.rule != rule || !covered.contains(&raw.start));
            if found.len() == before {
                let message = format!("nothing here breaks `{name}`, so that there is nothing to allow");
                let hint =
                    "it allows what is on its line, or, on a line of its own, in the statement below it";
                say(Rule::UnusedAllow, message, Some(hint.to_owned()));
            } else if reason.trim_matches(|c: char| c.is_whitespace() || "-:.".contains(c)).is_empty() {
                let message = format!("`allow({name})` does not say why");
                let hint =
                    format!("add the reason, as in `-- backstaff: allow({name}) the guest is off by now`");
                say(Rule::WrongAllow, message, Some(hint));
            }
        }
    }
    found.append(&mut wrong);
}

/// What a comment says to this program.
fn directive(comment: &str) -> Option<&str> {
    let text = comment.trim_start_matches('-');
    let text = text.trim_start_matches(['[', '=']).trim_end_matches([']', '=']);
    text.trim().strip_prefix("backstaff:").map(str::trim)
}

/// Whether it is about what stands in the text; the others are about the whole script.
fn is_of_the_text(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::UnknownGlobal
            | Rule::UnknownMember
            | Rule::UnknownOption
            | Rule::UnknownChoice
            | Rule::DotCall
            | Rule::NilGlobal
            | Rule::NoWaitAfterInput
    )
}

/// The offsets that a comment covers: its line, or the statement below it when it has the line for itself.
fn covered(
    source: &str,
    program: &Program,
    lines: &Lines<'_>,
    start: usize,
    end: usize,
) -> std::ops::Range<usize> {
    let line_start = source[..start].rfind(['\n', '\r']).map_or(0, |at| at + 1);
    if !source[line_start..start].trim().is_empty() {
        return line_start..start;
    }
    let line = lines.line_of(end);
    let below = (line + 1..).map_while(|line| Some((line, lines.text(line)?.trim())));
    let code =
        below.filter(|(_, text)| !(text.is_empty() || text.starts_with("--"))).map(|(line, _)| line).next();
    let first = code.map_or(source.len(), |line| lines.start(line));
    let last = code.and_then(|line| lines.text(line)).map_or(first, |text| first + text.len());
    // A line in the middle of a statement has nothing of its own but itself.
    match first_after(&program.block, end) {
        Some((from, to)) if (first..=last).contains(&from) => first..to.max(last),
        _ => first..last,
    }
}

/// The outermost of the statements that begin first after an offset.
fn first_after(block: &Block, at: usize) -> Option<(usize, usize)> {
    let next = block.statements.partition_point(|statement| statement.start < at);
    let inside = next.checked_sub(1).and_then(|before| block.statements.get(before));
    match inside.filter(|statement| statement.end > at) {
        // It has not ended yet, and so what follows is somewhere inside it.
        Some(statement) => in_statement(statement, at),
        None => block.statements.get(next).map(|statement| (statement.start, statement.end)),
    }
}

fn in_statement(statement: &Statement, at: usize) -> Option<(usize, usize)> {
    let mut blocks = Vec::new();
    blocks_of(statement, &mut blocks);
    // The innermost function around the offset decides; they come outermost first.
    blocks.into_iter().filter_map(|block| first_after(block, at)).min_by_key(|(start, _)| *start)
}

/// The blocks in a statement, also those of functions in its expressions.
fn blocks_of<'a>(statement: &'a Statement, blocks: &mut Vec<&'a Block>) {
    match &statement.kind {
        StatementKind::Do(block)
        | StatementKind::While { block, .. }
        | StatementKind::Repeat { block, .. } => {
            blocks.push(block);
        }
        StatementKind::If { branches, otherwise } => {
            blocks.extend(branches.iter().map(|(_, block)| block).chain(otherwise));
        }
        StatementKind::For { block, .. } => blocks.push(block),
        StatementKind::Function { function, .. } | StatementKind::LocalFunction { function, .. } => {
            blocks.push(&function.block);
        }
        _ => {}
    }
    super::walk::each_function(statement, &mut |function| blocks.push(&function.block));
}

/// Each is looked up in the whole script.
const MOST_COMMENTS: usize = 200;
