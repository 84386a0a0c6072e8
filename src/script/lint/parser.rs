//! Tokens to a tree, as Lua 5.4 reads them. What nests is limited as in Lua, so that no text reaches the end of the stack.

use super::lexer::{Lexer, Token, TokenKind};
use super::syntax::{
    Base, Block, Chain, Expr, Function, Item, Key, Name, Operand, Operator, Program, Statement,
    StatementKind, Step, Table, Value,
};

/// Parses a program.
///
/// # Errors
/// The offset of the token that does not fit, or of what nests too deeply.
pub(super) fn parse(text: &str) -> Result<Program, usize> {
    let mut lexer = Lexer::new(text);
    let token = lexer.next()?;
    let mut parser = Parser { text, lexer, token, last_end: 0, depth: 0 };
    let block = parser.block()?;
    match parser.token.kind {
        TokenKind::End => Ok(Program { block, comments: parser.lexer.comments }),
        _ => Err(parser.token.start),
    }
}

/// As in Lua, which counts the same things.
const DEEPEST: usize = 200;

struct Parser<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    token: Token,
    /// Where the token before this one ended.
    last_end: usize,
    depth: usize,
}

type Parsed<T> = Result<T, usize>;

impl Parser<'_> {
    fn advance(&mut self) -> Parsed<Token> {
        let next = self.lexer.next()?;
        self.last_end = self.token.end;
        Ok(std::mem::replace(&mut self.token, next))
    }

    fn is(&self, symbol: &str) -> bool {
        matches!(self.token.kind, TokenKind::Symbol(found) if found == symbol)
    }

    fn take(&mut self, symbol: &str) -> Parsed<bool> {
        let is = self.is(symbol);
        if is {
            self.advance()?;
        }
        Ok(is)
    }

    fn expect(&mut self, symbol: &str) -> Parsed<()> {
        match self.take(symbol)? {
            true => Ok(()),
            false => Err(self.token.start),
        }
    }

    fn name(&mut self) -> Parsed<Name> {
        match self.token.kind {
            TokenKind::Name => {
                let token = self.advance()?;
                Ok(Name { text: self.text[token.start..token.end].into(), start: token.start })
            }
            _ => Err(self.token.start),
        }
    }

    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= DEEPEST {
            return Err(self.token.start);
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    fn block(&mut self) -> Parsed<Block> {
        let mut block = Block::default();
        while !self.ends_block() {
            let is_last = self.is("return");
            let start = self.token.start;
            let kind = self.deeper(Self::statement)?;
            block.statements.push(Statement { start, end: self.last_end, kind });
            if is_last {
                break;
            }
        }
        Ok(block)
    }

    fn ends_block(&self) -> bool {
        match self.token.kind {
            TokenKind::End => true,
            TokenKind::Symbol(symbol) => ["end", "else", "elseif", "until"].contains(&symbol),
            _ => false,
        }
    }

    fn statement(&mut self) -> Parsed<StatementKind> {
        let TokenKind::Symbol(symbol) = self.token.kind else { return self.expression_statement() };
        match symbol {
            ";" | "break" => {
                self.advance()?;
                Ok(StatementKind::Nothing)
            }
            "::" => {
                self.advance()?;
                self.name()?;
                self.expect("::")?;
                Ok(StatementKind::Nothing)
            }
            "goto" => {
                self.advance()?;
                self.name()?;
                Ok(StatementKind::Goto)
            }
            "do" => {
                self.advance()?;
                Ok(StatementKind::Do(self.block_to_end()?))
            }
            "while" => {
                self.advance()?;
                let condition = self.expr()?;
                self.expect("do")?;
                Ok(StatementKind::While { condition, block: self.block_to_end()? })
            }
            "repeat" => {
                self.advance()?;
                let block = self.block()?;
                self.expect("until")?;
                Ok(StatementKind::Repeat { block, condition: self.expr()? })
            }
            "if" => self.if_statement(),
            "for" => self.for_statement(),
            "function" => self.function_statement(),
            "local" => self.local_statement(),
            "return" => self.return_statement(),
            _ => self.expression_statement(),
        }
    }

    fn block_to_end(&mut self) -> Parsed<Block> {
        let block = self.block()?;
        self.expect("end")?;
        Ok(block)
    }

    fn if_statement(&mut self) -> Parsed<StatementKind> {
        let mut branches = Vec::new();
        let mut otherwise = None;
        loop {
            self.advance()?;
            let condition = self.expr()?;
            self.expect("then")?;
            branches.push((condition, self.block()?));
            if !self.is("elseif") {
                break;
            }
        }
        if self.take("else")? {
            otherwise = Some(self.block()?);
        }
        self.expect("end")?;
        Ok(StatementKind::If { branches, otherwise })
    }

    fn for_statement(&mut self) -> Parsed<StatementKind> {
        self.advance()?;
        let mut names = vec![self.name()?];
        if !self.take("=")? {
            while self.take(",")? {
                names.push(self.name()?);
            }
            self.expect("in")?;
        }
        let values = self.exprs()?;
        self.expect("do")?;
        Ok(StatementKind::For { names, values, block: self.block_to_end()? })
    }

    fn function_statement(&mut self) -> Parsed<StatementKind> {
        self.advance()?;
        let base = Base::Name(self.name()?);
        let mut steps = Vec::new();
        let mut is_method = false;
        while !is_method && (self.is(".") || self.is(":")) {
            is_method = self.is(":");
            self.advance()?;
            steps.push(Step::Field(self.name()?));
        }
        let target = Chain { base, steps };
        Ok(StatementKind::Function { target, is_method, function: self.function_body()? })
    }

    fn local_statement(&mut self) -> Parsed<StatementKind> {
        self.advance()?;
        if self.take("function")? {
            let name = self.name()?;
            return Ok(StatementKind::LocalFunction { name, function: self.function_body()? });
        }
        let mut names = Vec::new();
        loop {
            names.push(self.name()?);
            if self.take("<")? {
                self.name()?;
                self.expect(">")?;
            }
            if !self.take(",")? {
                break;
            }
        }
        let values = if self.take("=")? { self.exprs()? } else { Vec::new() };
        Ok(StatementKind::Local { names, values })
    }

    fn return_statement(&mut self) -> Parsed<StatementKind> {
        self.advance()?;
        let values = if self.ends_block() || self.is(";") { Vec::new() } else { self.exprs()? };
        self.take(";")?;
        Ok(StatementKind::Return(values))
    }

    /// A call or an assignment.
    fn expression_statement(&mut self) -> Parsed<StatementKind> {
        let first = self.target()?;
        if !(self.is("=") || self.is(",")) {
            let is_call = match &first.first.value {
                Value::Chain(chain) => matches!(chain.steps.last(), Some(Step::Call(_) | Step::Method(..))),
                _ => false,
            };
            return if is_call { Ok(StatementKind::Call(first)) } else { Err(self.token.start) };
        }
        let mut targets = vec![first];
        while self.take(",")? {
            targets.push(self.target()?);
        }
        self.expect("=")?;
        Ok(StatementKind::Assign { targets, values: self.exprs()? })
    }

    /// A name or a chain alone.
    fn target(&mut self) -> Parsed<Expr> {
        let start = self.token.start;
        let value = Value::Chain(self.chain()?);
        Ok(Expr { start, end: self.last_end, first: Operand { unary: None, value }, others: Vec::new() })
    }

    fn exprs(&mut self) -> Parsed<Vec<Expr>> {
        let mut exprs = vec![self.expr()?];
        while self.take(",")? {
            exprs.push(self.expr()?);
        }
        Ok(exprs)
    }

    fn expr(&mut self) -> Parsed<Expr> {
        self.deeper(|parser| {
            let start = parser.token.start;
            let first = parser.operand()?;
            let mut others = Vec::new();
            while let Some(operator) = parser.operator() {
                parser.advance()?;
                others.push((operator, parser.operand()?));
            }
            Ok(Expr { start, end: parser.last_end, first, others })
        })
    }

    fn operator(&self) -> Option<Operator> {
        let TokenKind::Symbol(symbol) = self.token.kind else { return None };
        match symbol {
            "and" | "or" | "==" | "~=" => Some(Operator::Probing),
            "+" | "-" | "*" | "/" | "//" | "%" | "^" | "&" | "~" | "|" | "<<" | ">>" | ".." | "<" | "<="
            | ">" | ">=" => Some(Operator::Other),
            _ => None,
        }
    }

    fn operand(&mut self) -> Parsed<Operand> {
        let mut unary = None;
        while let TokenKind::Symbol(symbol @ ("not" | "-" | "#" | "~")) = self.token.kind {
            let operator = if symbol == "not" { Operator::Probing } else { Operator::Other };
            unary = unary.or(Some(operator));
            self.advance()?;
        }
        Ok(Operand { unary, value: self.value()? })
    }

    fn value(&mut self) -> Parsed<Value> {
        match &mut self.token.kind {
            TokenKind::Number => {
                self.advance()?;
                Ok(Value::Plain)
            }
            TokenKind::String(text) => {
                let text = text.take();
                self.advance()?;
                Ok(Value::String(text))
            }
            TokenKind::Symbol("nil" | "true" | "false") => {
                self.advance()?;
                Ok(Value::Plain)
            }
            TokenKind::Symbol("...") => {
                self.advance()?;
                Ok(Value::Varargs)
            }
            TokenKind::Symbol("{") => Ok(Value::Table(self.table()?)),
            TokenKind::Symbol("function") => {
                self.advance()?;
                Ok(Value::Function(Box::new(self.function_body()?)))
            }
            _ => Ok(Value::Chain(self.chain()?)),
        }
    }

    fn chain(&mut self) -> Parsed<Chain> {
        let base = if self.take("(")? {
            let inside = self.expr()?;
            self.expect(")")?;
            Base::Parens(Box::new(inside))
        } else {
            Base::Name(self.name()?)
        };
        let mut steps = Vec::new();
        while let Some(step) = self.step()? {
            steps.push(step);
        }
        Ok(Chain { base, steps })
    }

    fn step(&mut self) -> Parsed<Option<Step>> {
        let step = match self.token.kind {
            TokenKind::Symbol(".") => {
                self.advance()?;
                Step::Field(self.name()?)
            }
            TokenKind::Symbol("[") => {
                self.advance()?;
                let key = self.expr()?;
                self.expect("]")?;
                Step::Index(Box::new(key))
            }
            TokenKind::Symbol(":") => {
                self.advance()?;
                let name = self.name()?;
                Step::Method(name, self.arguments()?)
            }
            TokenKind::Symbol("(" | "{") | TokenKind::String(_) => Step::Call(self.arguments()?),
            _ => return Ok(None),
        };
        Ok(Some(step))
    }

    fn arguments(&mut self) -> Parsed<Vec<Expr>> {
        if self.take("(")? {
            let arguments = if self.is(")") { Vec::new() } else { self.exprs()? };
            self.expect(")")?;
            return Ok(arguments);
        }
        let start = self.token.start;
        let value = match self.token.kind {
            TokenKind::Symbol("{") | TokenKind::String(_) => self.value()?,
            _ => return Err(start),
        };
        Ok(vec![Expr {
            start,
            end: self.last_end,
            first: Operand { unary: None, value },
            others: Vec::new(),
        }])
    }

    fn table(&mut self) -> Parsed<Table> {
        self.deeper(|parser| {
            parser.advance()?;
            let mut items = Vec::new();
            while !parser.is("}") {
                items.push(parser.item()?);
                if !(parser.take(",")? || parser.take(";")?) {
                    break;
                }
            }
            parser.expect("}")?;
            Ok(Table { items })
        })
    }

    fn item(&mut self) -> Parsed<Item> {
        if self.take("[")? {
            let key = Key::Computed(self.expr()?);
            self.expect("]")?;
            self.expect("=")?;
            return Ok(Item { key, value: self.expr()? });
        }
        let value = self.expr()?;
        if !self.is("=") {
            return Ok(Item { key: Key::None, value });
        }
        // A name alone before `=` is a key.
        let Some(Value::Chain(Chain { base: Base::Name(name), steps })) = value.sole() else {
            return Err(self.token.start);
        };
        if !steps.is_empty() {
            return Err(self.token.start);
        }
        let key = Key::Name(name.clone());
        self.advance()?;
        Ok(Item { key, value: self.expr()? })
    }

    /// From the bracket before the parameters.
    fn function_body(&mut self) -> Parsed<Function> {
        self.expect("(")?;
        let mut params = Vec::new();
        while !self.is(")") {
            if self.take("...")? {
                break;
            }
            params.push(self.name()?);
            if !self.take(",")? {
                break;
            }
        }
        self.expect(")")?;
        Ok(Function { params, block: self.block_to_end()? })
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn what_lua_takes_is_parsed() {
        let texts = [
            "",
            "#!/usr/bin/lua\nlocal x = 1",
            "local a <const>, b <close> = 7 // 2, nil;;; goto done ::done::",
            "x, y.z, t[1] = 1, f{}, g'x' return",
            "return function(...) local a = ... return ... end",
            "for i = 1, 2 do break end for k, v in pairs({}) do end",
            "repeat local x until x while not f() do end",
            "if a then elseif b then else end do end",
            "function a.b.c:d(e, ...) end local function f() end",
            "local s = [==[ ]] ]==] .. 'a\\z\n  b\\x41\\u{7FFFFFFF}\\065\\\n' -- x\n--[[ y\n ]] local t = { [1] = 2, x = 3; 4, }",
            "local n = 0x1p-3 + 1e+5 - 3. + .5 ~ 1 & 2 | 3 << 4 >> 5 ^ -2 % #t",
            "a.b['c']:d 'x' { 1 } (2)()",
            "local t = { f(), g = 1, [f()] = 2, ... }",
            "('x'):rep(3)",
            "return -x ^ 2 == 3, not a, ~b;",
        ];
        for text in texts {
            assert!(
                mlua::Lua::new().load(text).set_mode(mlua::chunk::ChunkMode::Text).into_function().is_ok()
                    || text.starts_with("#!"),
                "{text}"
            );
            assert!(parse(text).is_ok(), "{text}: {:?}", parse(text).map(|_| ()));
        }
    }

    #[test]
    fn what_lua_refuses_is_refused_at_the_same_token() {
        for (text, at) in [
            ("local x = ", 10),
            ("x = = 1", 4),
            ("f(", 2),
            ("if x then", 9),
            ("local 1", 6),
            ("x", 1),
            ("return 1 x", 9),
            ("a.b", 3),
            ("f() = 'x", 6),
            ("{}", 0),
            ("for x do end", 6),
            ("x = }", 4),
            ("goto 1", 5),
            ("x = 'a\nb'", 4),
            ("--[[ open", 2),
            ("x = $", 4),
        ] {
            assert_eq!(parse(text).map(|_| ()), Err(at), "{text}");
        }
    }

    #[test]
    fn nothing_is_too_deep_or_too_long() {
        let deep = [
            format!("x = {}1{}", "(".repeat(100_000), ")".repeat(100_000)),
            format!("x = {}{}", "{".repeat(100_000), "}".repeat(100_000)),
            format!("x = {}1", "- ".repeat(100_000)),
            format!("{}{}", "do ".repeat(100_000), "end ".repeat(100_000)),
            format!("x = {}1", "function() return ".repeat(100_000)),
            format!("f{}", "{f".repeat(100_000)),
        ];
        for text in deep {
            // Signs before an operand are a list here, and no matter how many.
            _ = parse(&text);
        }
        let long = [
            format!("x = 1{}", " + 1".repeat(100_000)),
            format!("x = a{}", ".b".repeat(100_000)),
            format!("x = f{}", "()".repeat(100_000)),
            format!("x = 'a'{}", " .. 'a'".repeat(100_000)),
            format!("if a then{} end", " elseif a then".repeat(100_000)),
            "x = 1\n".repeat(100_000),
        ];
        for text in long {
            assert!(parse(&text).is_ok(), "{}", &text[..20]);
        }
        // As deep as Lua goes, on the stack of a test.
        let nested = format!("x = {}1{}", "(".repeat(190), ")".repeat(190));
        assert!(parse(&nested).is_ok());
    }
}
