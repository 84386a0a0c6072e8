//! From the text of `lua/meta` to [`Reference`]. Reads the LuaCATS that those files use and passes over everything else.

use super::{Alias, Class, Field, Function, Param, Reference};

impl Reference {
    /// Reads files. Any text will do: what is not understood is not there.
    pub fn read<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut reference = Self::default();
        for text in texts {
            let mut block = Block::default();
            for line in text.lines() {
                match line.trim_start().strip_prefix("---") {
                    // A ruler is no comment.
                    Some(rest) if rest.starts_with("---") => {}
                    Some(rest) => block.add(rest),
                    None => reference.define(std::mem::take(&mut block), line.trim()),
                }
            }
            reference.define(block, "");
        }
        reference.name_the_spoken();
        reference
    }

    /// Takes in a comment and the line of Lua below it.
    fn define(&mut self, block: Block<'_>, line: &str) {
        if let Some((name, parent)) = block.class {
            let mut class = self.take_class(name);
            class.parent = parent.map(str::to_owned);
            class.doc = paragraphs(&block.doc);
            class.fields = block.fields;
            class.is_handle = line.starts_with("local ");
            // What can be called has its overloads: its class says what, and the global below names it.
            if let Some(overload) = block.overloads.first() {
                let mut function = Function { params: overload_params(overload), ..Function::default() };
                function.returns = overload_returns(overload).into_iter().collect();
                function.return_docs = vec![String::new(); function.returns.len()];
                mark_optional(&mut function.params, &block.overloads);
                class.methods.push(function);
            }
            self.classes.push(class);
        } else if let Some(alias) = block.alias {
            self.aliases.push(Alias { doc: paragraphs(&block.doc), choices: block.choices, ..alias });
        } else if let Some((name, parameters)) = function_line(line) {
            let function = block.function(name, parameters);
            match name.split_once([':', '.']) {
                Some((class, _)) => self.class_mut(&format!("{PREFIX}{class}")).methods.push(function),
                None => self.functions.push(function),
            }
        } else if let Some((name, "nil")) = line.split_once(" = ") {
            self.define_value(block, name);
        }
    }

    /// A global that the program sets: a value, or something that can be called.
    fn define_value(&mut self, block: Block<'_>, name: &str) {
        let (doc, example) = without_example(&block.doc);
        let kind = block.kind.unwrap_or_default();
        let called = self.classes.iter_mut().find(|class| class.name == kind).and_then(|class| {
            // The unnamed one, which the overloads made.
            let at = class.methods.iter().position(|method| method.name.is_empty())?;
            Some(class.methods.remove(at))
        });
        match called {
            Some(function) => {
                let options = options_of(&function.params);
                self.functions.push(Function { name: name.to_owned(), doc, example, options, ..function });
            }
            None => self.values.push(Field {
                name: name.to_owned(),
                kind: kind.to_owned(),
                doc,
                example,
                is_optional: false,
            }),
        }
    }

    /// The class of that name as far as it is known, taken out of its place.
    fn take_class(&mut self, name: &str) -> Class {
        match self.classes.iter().position(|class| class.name == name) {
            Some(at) => self.classes.remove(at),
            None => Class { name: name.to_owned(), ..Class::default() },
        }
    }

    fn class_mut(&mut self, name: &str) -> &mut Class {
        let at = self.classes.iter().position(|class| class.name == name).unwrap_or_else(|| {
            self.classes.push(Class { name: name.to_owned(), is_handle: true, ..Class::default() });
            self.classes.len() - 1
        });
        &mut self.classes[at]
    }

    /// Fills in what needs the whole: how authors say each thing, and which classes are option tables.
    fn name_the_spoken(&mut self) {
        let of_test: Vec<(String, String)> = self
            .classes
            .iter()
            .filter(|class| class.name == "backstaff.Test")
            .flat_map(|test| &test.fields)
            .map(|field| (field.kind.clone(), format!("t.{}", field.name)))
            .collect();
        for class in &mut self.classes {
            let short = class.name.strip_prefix(PREFIX).unwrap_or(&class.name);
            let owner = match SPOKEN.iter().find(|(name, _)| *name == short) {
                Some((_, spoken)) => (*spoken).to_owned(),
                None if class.is_handle => short.to_lowercase(),
                None => short.to_owned(),
            };
            for method in &mut class.methods {
                let separator = if method.spoken.contains('.') { '.' } else { ':' };
                method.spoken = format!("{owner}{separator}{}", method.name);
                method.signature = signature(&method.spoken, &method.params);
            }
            let of_test = of_test.iter().find(|(kind, _)| *kind == class.name);
            class.what = of_test.map_or(owner, |(_, what)| what.clone());
        }
        for function in &mut self.functions {
            function.spoken.clone_from(&function.name);
            function.signature = signature(&function.spoken, &function.params);
        }
        let methods = self.classes.iter().flat_map(|class| &class.methods);
        let options: Vec<String> =
            methods.chain(&self.functions).filter_map(|function| function.options.clone()).collect();
        for class in &mut self.classes {
            class.is_options = options.contains(&class.name);
        }
    }
}

/// How authors say a thing that is no field of `t`.
const SPOKEN: [(&str, &str); 6] = [
    ("Test", "t"),
    ("Expect", "expect(…)"),
    ("Within", "expect(…).within(…)"),
    ("Declaration", "scenario(…)"),
    ("Scenario", "scenario"),
    ("Always", "check"),
];
const PREFIX: &str = "backstaff.";

/// The comment above a definition.
#[derive(Default)]
struct Block<'a> {
    doc: Vec<&'a str>,
    class: Option<(&'a str, Option<&'a str>)>,
    alias: Option<Alias>,
    choices: Vec<(String, String)>,
    fields: Vec<Field>,
    params: Vec<Param>,
    returns: Vec<(String, String)>,
    overloads: Vec<&'a str>,
    kind: Option<&'a str>,
}

impl<'a> Block<'a> {
    /// Takes in a line without its dashes.
    fn add(&mut self, line: &'a str) {
        if let Some(choice) = line.trim_start().strip_prefix('|') {
            self.choices.push(choice_line(choice.trim()));
            return;
        }
        let Some((tag, rest)) = line.trim_start().strip_prefix('@').map(word) else {
            self.doc.push(line.trim());
            return;
        };
        match tag {
            "class" => {
                let (name, parent) = rest.split_once(':').unwrap_or((rest, ""));
                self.class = Some((name.trim(), Some(parent.trim()).filter(|parent| !parent.is_empty())));
            }
            "field" => {
                let (name, kind, is_optional, doc) = named(rest);
                let (doc, example) = split_example(&doc);
                self.fields.push(Field { name, kind, is_optional, doc, example });
            }
            "param" => {
                let (name, kind, is_optional, doc) = named(rest);
                self.params.push(Param { name, kind, is_optional, doc });
            }
            "return" => {
                let (kind, doc) = rest.split_once("  ").unwrap_or((rest, ""));
                let (kind, name) = kind_and_name(kind.trim());
                let doc = match (name, doc.trim()) {
                    ("" | "...", doc) => doc.to_owned(),
                    (name, "") => name.to_owned(),
                    (name, doc) => format!("{name}: {doc}"),
                };
                self.returns.push((kind.to_owned(), doc));
            }
            "alias" => {
                let (name, kind) = word(rest);
                self.alias =
                    Some(Alias { name: name.to_owned(), kind: kind.trim().to_owned(), ..Alias::default() });
            }
            "overload" => self.overloads.push(rest.trim()),
            "type" => self.kind = Some(rest.trim()),
            _ => {}
        }
    }

    /// The function below this comment; `name` as in the file.
    fn function(self, name: &str, parameters: &str) -> Function {
        let (doc, example) = without_example(&self.doc);
        let names = parameters.split(',').map(str::trim).filter(|name| !name.is_empty());
        let mut params: Vec<Param> = names
            .map(|name| match self.params.iter().find(|param| param.name == name) {
                Some(param) => param.clone(),
                None => Param { name: name.to_owned(), ..Param::default() },
            })
            .collect();
        mark_optional(&mut params, &self.overloads);
        let (returns, return_docs) = self.returns.into_iter().unzip();
        Function {
            name: name.rsplit([':', '.']).next().unwrap_or_default().to_owned(),
            // Until all is read, only how it is called: with a dot or a colon.
            spoken: name.to_owned(),
            options: options_of(&params),
            signature: String::new(),
            params,
            returns,
            return_docs,
            doc,
            example,
        }
    }
}

/// The class of the option table among the parameters.
fn options_of(params: &[Param]) -> Option<String> {
    let param = params.iter().find(|param| param.name == "options")?;
    Some(param.kind.trim_end_matches('?').to_owned()).filter(|kind| kind.starts_with(PREFIX))
}

/// The first word, and the rest.
fn word(text: &str) -> (&str, &str) {
    text.split_once(char::is_whitespace).unwrap_or((text, ""))
}

/// `name? TYPE  text`.
fn named(rest: &str) -> (String, String, bool, String) {
    let (name, rest) = word(rest);
    let (kind, doc) = rest.split_once("  ").unwrap_or((rest, ""));
    let is_optional = name.ends_with('?');
    let name = name.trim_end_matches('?');
    (name.to_owned(), kind.trim().to_owned(), is_optional, doc.trim().to_owned())
}

/// `TYPE name`, the name of which may be missing: it is the word after the last space that belongs to no type.
fn kind_and_name(text: &str) -> (&str, &str) {
    let mut depth = 0_usize;
    let mut split = None;
    let mut before = ' ';
    for (at, char) in text.char_indices() {
        match char {
            '(' | '<' | '{' | '[' => depth += 1,
            ')' | '>' | '}' | ']' => depth = depth.saturating_sub(1),
            ' ' if depth == 0 && !matches!(before, ':' | '|' | ',') => split = Some(at),
            _ => {}
        }
        before = char;
    }
    split.map_or((text, ""), |at| (text[..at].trim(), text[at..].trim()))
}

/// `"word" text` of a list of choices.
fn choice_line(text: &str) -> (String, String) {
    let (choice, doc) = match text.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
        Some((choice, doc)) => (format!("\"{choice}\""), doc),
        None => {
            let (choice, doc) = word(text);
            (choice.to_owned(), doc)
        }
    };
    (choice, doc.trim().to_owned())
}

/// `function NAME(PARAMETERS) end`.
fn function_line(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.strip_prefix("function ")?.split_once('(')?;
    let (parameters, _) = rest.split_once(')')?;
    Some((name.trim(), parameters))
}

/// The parameters of `fun(a: T, b: U): V`, at the first level of brackets.
pub(super) fn overload_params(overload: &str) -> Vec<Param> {
    let Some(inside) = overload.strip_prefix("fun(") else { return Vec::new() };
    let mut depth = 0_usize;
    let mut params = Vec::new();
    let mut from = 0;
    let mut add = |text: &str| {
        let (name, kind) = text.split_once(':').unwrap_or((text, ""));
        let (name, kind) = (name.trim().to_owned(), kind.trim().to_owned());
        if !name.is_empty() && name != "self" {
            let is_optional = name.ends_with('?');
            let name = name.trim_end_matches('?').to_owned();
            params.push(Param { name, kind, is_optional, doc: String::new() });
        }
    };
    for (at, char) in inside.char_indices() {
        match char {
            '(' | '<' | '{' | '[' => depth += 1,
            ')' if depth == 0 => {
                add(&inside[from..at]);
                break;
            }
            ')' | '>' | '}' | ']' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                add(&inside[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    params
}

/// What `fun(…): V` returns.
fn overload_returns(overload: &str) -> Option<String> {
    let mut depth = 0_usize;
    let end = overload.char_indices().find_map(|(at, char)| match char {
        '(' => {
            depth += 1;
            None
        }
        ')' => {
            depth = depth.saturating_sub(1);
            (depth == 0).then_some(at + 1)
        }
        _ => None,
    })?;
    let kind = overload[end..].trim().strip_prefix(':')?;
    Some(kind.trim().to_owned())
}

/// What an overload does not name may be left out.
fn mark_optional(params: &mut [Param], overloads: &[&str]) {
    for overload in overloads {
        let named = overload_params(overload);
        for param in params.iter_mut() {
            param.is_optional |= !named.iter().any(|named| named.name == param.name);
        }
    }
}

fn signature(spoken: &str, params: &[Param]) -> String {
    let names = params.iter().map(|param| match param.is_optional {
        true => format!("[{}]", param.name),
        false => param.name.clone(),
    });
    format!("{spoken}({})", names.collect::<Vec<_>>().join(", "))
}

/// Lines as paragraphs; an empty line parts two.
fn paragraphs(lines: &[&str]) -> String {
    let mut text = String::new();
    let mut is_new = false;
    for line in lines {
        if line.is_empty() {
            is_new = true;
            continue;
        }
        if !text.is_empty() {
            text.push_str(if is_new { "\n\n" } else { " " });
        }
        is_new = false;
        text.push_str(line);
    }
    text
}

/// The paragraphs before the line that begins with `Example:`, and what that shows.
fn without_example(lines: &[&str]) -> (String, Option<String>) {
    let Some(at) = lines.iter().rposition(|line| line.starts_with(EXAMPLE)) else {
        return (paragraphs(lines), None);
    };
    let (_, example) = split_example(&paragraphs(&lines[at..]));
    (paragraphs(&lines[..at]), example)
}

/// The text before ``Example: `…` ``, and what that shows.
fn split_example(doc: &str) -> (String, Option<String>) {
    let Some((before, example)) = doc.rsplit_once(EXAMPLE) else { return (doc.to_owned(), None) };
    let code = example.trim().strip_prefix('`').and_then(|code| code.strip_suffix('`'));
    match code {
        Some(code) if !code.is_empty() => (before.trim().to_owned(), Some(code.to_owned())),
        _ => (doc.to_owned(), None),
    }
}

const EXAMPLE: &str = "Example:";
