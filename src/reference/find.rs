//! Looking things up in the reference by the words that people use for them.

use std::fmt;

use super::{Class, Field, Function, Reference};
use crate::near::nearest;

/// What a word stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A global function or a method.
    Function(&'a Function),
    /// Something with members.
    Class(&'a Class),
    /// A field of a class, or a key of an option table.
    Field(&'a Class, &'a Field),
    /// A global that is no function.
    Value(&'a Field),
}

/// What may follow a dot or a colon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Member<'a> {
    /// A method; all but those with a dot in [`Function::spoken`] take a colon.
    Method(&'a Function),
    /// A field.
    Field(&'a Field),
}

impl<'a> Member<'a> {
    /// Its name.
    pub fn name(&self) -> &'a str {
        match self {
            Self::Method(method) => &method.name,
            Self::Field(field) => &field.name,
        }
    }

    /// Whether it is called with a colon.
    pub fn takes_colon(&self) -> bool {
        match self {
            Self::Method(method) => method.takes_colon(),
            Self::Field(_) => false,
        }
    }
}

impl Function {
    /// Whether it is called with a colon.
    pub fn takes_colon(&self) -> bool {
        self.spoken.rsplit_once(&*self.name).is_some_and(|(owner, _)| owner.ends_with(':'))
    }
}

/// Nothing has this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// What was looked for.
    pub words: String,
    /// Names that may have been meant, the likeliest first.
    pub near: Vec<String>,
}

impl fmt::Display for Unknown {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "nothing is called `{}`", self.words)?;
        match self.near.as_slice() {
            [] => Ok(()),
            [near] => write!(out, ", did you mean `{near}`?"),
            near => write!(out, ", did you mean one of {}?", near.join(", ")),
        }
    }
}

impl std::error::Error for Unknown {}

impl Reference {
    /// Returns the class of that full name, such as `backstaff.Digest`.
    pub fn class(&self, name: &str) -> Option<&Class> {
        self.classes.iter().find(|class| class.name == name)
    }

    /// Returns the global function of that name.
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.name == name)
    }

    /// Returns the method of a class.
    pub fn method<'a>(&'a self, class: &'a Class, name: &str) -> Option<&'a Function> {
        class.methods.iter().find(|method| method.name == name)
    }

    /// Returns the field of a class, also one that it has from its parent.
    pub fn field<'a>(&'a self, class: &'a Class, name: &str) -> Option<&'a Field> {
        self.fields(class).into_iter().find(|field| field.name == name)
    }

    /// Returns all fields of a class, those of its parents last.
    pub fn fields<'a>(&'a self, class: &'a Class) -> Vec<&'a Field> {
        let mut fields: Vec<&Field> = class.fields.iter().collect();
        let mut parent = class.parent.as_deref();
        // A class that is its own ancestor is a slip of the file, and no reason to hang.
        for _ in 0..8 {
            let Some(found) = parent.and_then(|parent| self.class(parent)) else { break };
            fields.extend(&found.fields);
            parent = found.parent.as_deref();
        }
        fields
    }

    /// Returns what the words stand for: `digest:wait_for`, `t.digest.wait_for`, `wait_for` (several), `t.keyboard`,
    /// `at_least`, `backstaff.Shot`, or an option such as `char_delay`; nothing when nothing is called so.
    pub fn find(&self, words: &str) -> Vec<Entry<'_>> {
        let words = words.trim().trim_end_matches("()");
        let mut found: Vec<Entry<'_>> =
            self.functions.iter().filter(|function| function.name == words).map(Entry::Function).collect();
        found.extend(self.values.iter().filter(|value| value.name == words).map(Entry::Value));
        let is_class = |class: &&Class| {
            class.name == words || class.what == words || class.name.strip_prefix("backstaff.") == Some(words)
        };
        match self.classes.iter().find(is_class) {
            Some(class) => found.push(Entry::Class(class)),
            None if found.is_empty() => found.extend(self.class_of(words).map(Entry::Class)),
            None => {}
        }
        if !found.is_empty() {
            return found;
        }
        match words.rfind([':', '.']) {
            Some(at) => {
                let (owner, name) = (&words[..at], &words[at + 1..]);
                let Some(class) = self.class_of(owner) else { return Vec::new() };
                self.member(class, name).into_iter().collect()
            }
            None => self.members_called(words),
        }
    }

    /// Returns help for a name as text of lines up to 80 columns.
    ///
    /// # Errors
    /// Nothing has that name.
    pub fn help(&self, words: &str) -> Result<String, Unknown> {
        self.help_within(words, 80)
    }

    /// The same, for a terminal of `columns`. Code is not broken.
    ///
    /// # Errors
    /// Nothing has that name.
    pub fn help_within(&self, words: &str, columns: usize) -> Result<String, Unknown> {
        let found = self.find(words);
        if found.is_empty() {
            return Err(self.unknown(words));
        }
        Ok(super::text::help(self, &found, columns))
    }

    /// Returns what can follow a dot or a colon after these words, such as `t.keyboard`, `keyboard`, `t`, `t.lanes.a`,
    /// `scenario` or `expect(…)`: its methods and then its fields. Nothing when it is not known what they are.
    pub fn members_of(&self, spoken: &str) -> Vec<Member<'_>> {
        let Some(class) = self.class_of(spoken) else { return Vec::new() };
        let methods = class.methods.iter().map(Member::Method);
        methods.chain(self.fields(class).into_iter().map(Member::Field)).collect()
    }

    /// Returns the keys of a function's option table; nothing when it has none, or is not known.
    pub fn option_keys(&self, function: &str) -> Vec<&Field> {
        let options = self.find(function).into_iter().find_map(|entry| match entry {
            Entry::Function(function) => function.options.as_deref(),
            _ => None,
        });
        options.and_then(|options| self.class(options)).map(|class| self.fields(class)).unwrap_or_default()
    }

    /// Returns the class of what the words lead to: a path of names and calls from a global, `t`, or one of the words
    /// that scenarios use for what `t` has.
    pub fn class_of(&self, spoken: &str) -> Option<&Class> {
        let mut steps = path(spoken);
        if steps.is_empty() {
            return None;
        }
        let (first, is_call) = steps.remove(0);
        let mut kind = self.kind_of_root(&first, is_call)?;
        for (name, is_call) in steps {
            kind = self.kind_of_member(&kind, &name, is_call)?;
        }
        self.class(kind.trim_end_matches('?'))
    }

    /// The type of a word that stands at the beginning.
    fn kind_of_root(&self, name: &str, is_call: bool) -> Option<String> {
        if is_call {
            return self.function(name)?.returns.first().cloned();
        }
        if let Some(value) = self.values.iter().find(|value| value.name == name) {
            return Some(value.kind.clone());
        }
        let short =
            |class: &Class| class.name.strip_prefix("backstaff.").unwrap_or(&class.name).to_lowercase();
        let is_meant =
            |class: &&Class| class.is_handle && (class.what == name || short(class) == name.to_lowercase());
        self.classes.iter().find(is_meant).map(|class| class.name.clone())
    }

    /// The type of a member of something of a type.
    pub(crate) fn kind_of_member(&self, kind: &str, name: &str, is_call: bool) -> Option<String> {
        let kind = kind.trim_end_matches('?');
        // Under every name there is one of these.
        if let Some(values) = kind.strip_prefix("table<string, ").and_then(|rest| rest.strip_suffix('>')) {
            return (!is_call).then(|| values.to_owned());
        }
        let class = self.class(kind)?;
        match is_call {
            true => self.method(class, name)?.returns.first().cloned(),
            false => self.field(class, name).map(|field| field.kind.clone()),
        }
    }

    /// Returns the types of the parameters of `fun(a: T, b: U)`; nothing for other types.
    pub fn callback_params(&self, kind: &str) -> Vec<String> {
        // Of several types, the first that can be called.
        let function = kind.find("fun(").map_or("", |at| &kind[at..]);
        super::read::overload_params(function).into_iter().map(|param| param.kind).collect()
    }

    /// Returns the words that a type allows, when it allows nothing else: `"left"|"right"`, or an alias for such.
    pub fn choices(&self, kind: &str) -> Option<Vec<String>> {
        let kind = kind.trim_end_matches('?');
        let alias = self.aliases.iter().find(|alias| alias.name == kind);
        let kinds: Vec<&str> = match alias {
            Some(alias) if !alias.choices.is_empty() => {
                alias.choices.iter().map(|choice| &*choice.0).collect()
            }
            Some(alias) => alias.kind.split('|').collect(),
            None => kind.split('|').collect(),
        };
        let word = |kind: &&str| {
            let word = kind.trim().strip_prefix('"')?.strip_suffix('"')?;
            Some(word.to_owned())
        };
        kinds.iter().map(word).collect()
    }

    fn member<'a>(&'a self, class: &'a Class, name: &str) -> Option<Entry<'a>> {
        self.method(class, name)
            .map(Entry::Function)
            .or_else(|| self.field(class, name).map(|field| Entry::Field(class, field)))
    }

    /// Every member of that name: methods, else fields of what scripts hold, else options.
    fn members_called(&self, name: &str) -> Vec<Entry<'_>> {
        let methods: Vec<Entry<'_>> = self
            .classes
            .iter()
            .flat_map(|class| &class.methods)
            .filter(|method| method.name == name)
            .map(Entry::Function)
            .collect();
        if !methods.is_empty() {
            return methods;
        }
        let fields = |wanted: fn(&Class) -> bool| -> Vec<Entry<'_>> {
            let classes = self.classes.iter().filter(|class| wanted(class));
            let fields = classes.flat_map(|class| class.fields.iter().map(move |field| (class, field)));
            fields
                .filter(|(_, field)| field.name == name)
                .map(|(class, field)| Entry::Field(class, field))
                .collect()
        };
        let held = fields(|class| class.is_handle);
        match held.is_empty() {
            true => fields(|class| class.is_options),
            false => held,
        }
    }

    fn unknown(&self, words: &str) -> Unknown {
        let words = words.trim();
        let mut near = Vec::new();
        // In the thing that was named, before everywhere.
        if let Some((owner, name)) = words.rfind([':', '.']).map(|at| (&words[..=at], &words[at + 1..])) {
            let members = self.members_of(&owner[..owner.len() - 1]);
            if let Some(name) = nearest(name, members.iter().map(Member::name)) {
                near.push(format!("{owner}{name}"));
            }
        }
        if near.is_empty() {
            let classes = self.classes.iter().filter(|class| class.is_handle);
            let methods = self.classes.iter().flat_map(|class| &class.methods);
            let spoken = methods.clone().map(|method| &*method.spoken);
            let bare = methods.map(|method| &*method.name);
            let globals = self.functions.iter().map(|function| &*function.name);
            let values = self.values.iter().map(|value| &*value.name);
            let known =
                globals.chain(values).chain(classes.map(|class| &*class.what)).chain(spoken).chain(bare);
            near.extend(nearest(words, known).map(str::to_owned));
        }
        Unknown { words: words.to_owned(), near }
    }
}

/// The names of a path such as `t.lanes.a:wait_for(x)`, each with whether it is called. What stands in brackets does not
/// matter here.
fn path(spoken: &str) -> Vec<(String, bool)> {
    let mut steps = vec![(String::new(), false)];
    let mut depth = 0_usize;
    for char in spoken.trim().chars() {
        match char {
            '(' | '{' => {
                depth += 1;
                if let Some(last) = steps.last_mut() {
                    last.1 = true;
                }
            }
            ')' | '}' => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            '.' | ':' => steps.push((String::new(), false)),
            char => {
                if let Some(last) = steps.last_mut() {
                    last.0.push(char);
                }
            }
        }
    }
    match steps.iter().any(|(name, _)| name.trim().is_empty()) {
        true => Vec::new(),
        false => steps.into_iter().map(|(name, is_call)| (name.trim().to_owned(), is_call)).collect(),
    }
}
