//! Pages in the language of `man`: text that is escaped, sections, and what clap knows of a command.

use std::io::Write as _;

use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};

/// A page, and the name of its file.
pub(super) struct Page {
    /// Such as `backstaff-run.1`.
    pub(super) name: String,
    /// In roff.
    pub(super) text: String,
}

/// A page that is being written.
pub(super) struct Writer {
    roff: Roff,
    title: String,
    section: &'static str,
}

impl Writer {
    /// Begins a page of a section of the manual: its title, and what it is about in a few words.
    pub(super) fn new(title: &str, section: &'static str, about: &str) -> Self {
        let mut roff = Roff::new();
        roff.control("TH", [title, section, "", VERSION, "backstaff"]);
        ragged(&mut roff);
        let mut page = Self { roff, title: title.to_owned(), section };
        page.section("NAME").text(&format!("{title} - {about}"));
        page
    }

    pub(super) fn section(&mut self, name: &str) -> &mut Self {
        self.roff.control("SH", [name]);
        self
    }

    pub(super) fn subsection(&mut self, name: &str) -> &mut Self {
        self.roff.control("SS", [name]);
        self
    }

    /// Paragraphs, with an empty line between them; what stands in backquotes is bold.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for (at, paragraph) in text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()).enumerate()
        {
            if at > 0 {
                self.roff.control("PP", []);
            }
            self.roff.text(inlines(paragraph));
        }
        self
    }

    /// A term, and what it means.
    pub(super) fn item(&mut self, term: &str, text: &str) -> &mut Self {
        self.roff.control("TP", []);
        self.roff.text([bold(term)]);
        let mut paragraphs = text.split("\n\n");
        // Without any text the next term would be taken for it.
        match paragraphs.next().filter(|first| !first.trim().is_empty()) {
            Some(first) => self.roff.text(inlines(first)),
            None => self.roff.control("br", []),
        };
        paragraphs.for_each(|paragraph| {
            self.more(paragraph);
        });
        self
    }

    /// A further paragraph of an item.
    pub(super) fn more(&mut self, text: &str) -> &mut Self {
        self.roff.control("IP", []);
        self.roff.text(inlines(text));
        self
    }

    /// Lines that stay as they are.
    pub(super) fn code(&mut self, lines: &str) -> &mut Self {
        self.roff.control("PP", []);
        self.roff.control("RS", ["4"]);
        self.roff.control("EX", []);
        for line in lines.lines() {
            self.roff.text([roman(if line.is_empty() { " " } else { line })]);
        }
        self.roff.control("EE", []);
        self.roff.control("RE", []);
        self
    }

    pub(super) fn finish(mut self, see_also: &[&str]) -> Page {
        self.section("SEE ALSO").text(&see_also.join(", "));
        Page { name: format!("{}.{}", self.title, self.section), text: finished(&self.roff.to_roff()) }
    }
}

/// The page of a command, as clap describes it.
pub(super) fn of_command(command: &clap::Command) -> Page {
    let title = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let man = Man::new(command.clone()).title(&title).source(VERSION).manual("backstaff");
    let mut bytes = Vec::new();
    let has_commands = command.has_subcommands();
    let mut how = Roff::new();
    ragged(&mut how);
    let rendered = man
        .render_title(&mut bytes)
        .and_then(|()| bytes.write_all(how.to_roff().as_bytes()))
        .and_then(|()| man.render_name_section(&mut bytes))
        .and_then(|()| man.render_synopsis_section(&mut bytes))
        .and_then(|()| man.render_description_section(&mut bytes))
        .and_then(|()| man.render_options_section(&mut bytes))
        .and_then(|()| if has_commands { man.render_subcommands_section(&mut bytes) } else { Ok(()) });
    rendered.expect("a vector takes what is written to it");
    let mut more = Writer { roff: Roff::new(), title, section: "1" };
    if let Some(help) = command.get_after_long_help().or_else(|| command.get_after_help()) {
        add_help(&mut more, &help.to_string());
    }
    if !more.title.contains('-') {
        more.section("FILES");
        more.item("backstaff.toml", "The project: see backstaff.toml(5).");
        more.item("scenarios/", "The scenarios that run where no path is named.");
        more.item("lanes/", "Profiles of lanes, beside backstaff.toml or the scripts.");
        more.item("logs/", "Everything that runs make, in a folder for each run.");
        more.section("ENVIRONMENT");
        more.text("Options say which variable stands for them. `NO_COLOR`, `CLICOLOR_FORCE` and `COLUMNS` are heeded.");
    }
    // The command above has the same name but for the last part.
    let above = command.get_bin_name().and_then(|name| name.rsplit_once(' ')).map(|(above, _)| above);
    let above = above.map(|name| format!("{}(1)", name.replace(' ', "-")));
    let see: Vec<&str> =
        above.as_deref().into_iter().chain(["backstaff.toml(5)", "backstaff-lua(7)"]).collect();
    let head = finished(&String::from_utf8_lossy(&bytes));
    let page = more.finish(&see);
    // The second part begins with a mark of its own.
    Page { text: head + page.text.strip_prefix(MARK).unwrap_or(&page.text), name: page.name }
}

/// Names are not to be taken apart, and need room for that.
fn ragged(roff: &mut Roff) {
    roff.control("nh", []);
    roff.control("ad", ["l"]);
}

/// Text behind the options, with a section for what has a heading.
fn add_help(page: &mut Writer, help: &str) {
    for paragraph in help.split("\n\n") {
        let (first, rest) = paragraph.split_once('\n').unwrap_or((paragraph, ""));
        let heading = first.trim_end().strip_suffix(':').filter(|_| rest.starts_with("  "));
        match (heading, paragraph.split_once("Exit codes: ")) {
            (Some(heading), _) => {
                page.section(&heading.to_uppercase()).code(&unindented(rest));
            }
            (None, Some((before, codes))) => {
                if !before.trim().is_empty() {
                    page.section("NOTES").text(before.trim());
                }
                page.section("EXIT STATUS").text(codes);
            }
            (None, None) => {
                page.section("NOTES").text(paragraph);
            }
        }
    }
}

fn unindented(lines: &str) -> String {
    let lines = lines.lines().map(|line| line.strip_prefix("  ").unwrap_or(line));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// A paragraph in which what stands in backquotes is bold.
fn inlines(text: &str) -> Vec<Inline> {
    // A list of words without spaces may be broken behind each of them.
    let text = text.trim().replace('\n', " ").replace('|', "|\u{200B}");
    let parts = text.split('`').enumerate().filter(|(_, part)| !part.is_empty());
    parts.map(|(at, part)| if at % 2 == 1 { bold(part) } else { roman(part) }).collect()
}

/// With the mark by which we know our pages again, and in ASCII: not every formatter expects more.
fn finished(roff: &str) -> String {
    let mut text = String::from(MARK);
    for char in roff.chars() {
        match char {
            '\u{200B}' => text.push_str("\\:"),
            '…' => text.push_str("..."),
            '–' | '—' => text.push_str("\\-\\-"),
            '‘' | '’' => text.push_str("\\(aq"),
            '“' | '”' => text.push_str("\\(dq"),
            char if char.is_ascii() => text.push(char),
            char => text.push_str(&format!("\\[u{:04X}]", u32::from(char))),
        }
    }
    text
}

/// How our pages begin.
pub(super) const MARK: &str =
    ".\\\" Made by `backstaff man`; what is changed here is lost with the next call.\n";
const VERSION: &str = concat!("backstaff ", env!("CARGO_PKG_VERSION"));
