//! `--format`: the part of Go's text/template that users of skopeo and podman need.
//!
//! Fields (`{{.Name}}`, `{{.Labels.x}}`), `json`, `join`, `index`, `len`, `upper`, `lower`, `println`, `print`,
//! `printf`, `eq`, `ne`, `not`, pipes, `if`/`else`/`end`, `range`/`else`/`end`, strings, numbers and `{{-`/`-}}`.

mod error;
mod functions;
mod value;

pub(super) use error::TemplateError;
use functions::call;
pub(super) use value::{Struct, Value};

/// A template, read.
#[derive(Debug)]
pub(super) struct Template {
    nodes: Vec<Node>,
    ends_line: bool,
}

#[derive(Debug)]
enum Node {
    Text(String),
    Print(Pipe),
    If(Pipe, Vec<Self>, Vec<Self>),
    Range(Pipe, Vec<Self>, Vec<Self>),
}

/// Commands, each of which gets what the one before it gives as its last argument.
type Pipe = Vec<Vec<Word>>;

#[derive(Debug, Clone)]
enum Word {
    Field(Vec<String>),
    Literal(Value),
    Function(String),
    Group(Pipe),
}

enum Token {
    Text(String),
    Action(String),
}

impl Template {
    /// Reads a template.
    pub(super) fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut tokens = tokens(text)?.into_iter();
        let (nodes, end) = nodes(&mut tokens)?;
        match end {
            None => Ok(Self { nodes, ends_line: unescape(text).ends_with('\n') }),
            Some(word) => Err(TemplateError::Unexpected(word)),
        }
    }

    /// Fills it in, as a line of its own: where the template does not end it, it is ended.
    pub(super) fn line(&self, value: &Value) -> Result<String, TemplateError> {
        let text = self.render(value)?;
        Ok(if self.ends_line { text } else { text + "\n" })
    }

    /// Fills it in.
    pub(super) fn render(&self, value: &Value) -> Result<String, TemplateError> {
        let mut out = String::new();
        render(&self.nodes, value, &mut out)?;
        Ok(out)
    }
}

/// Splits at `{{` and `}}`; a dash inside takes the blanks outside with it.
fn tokens(text: &str) -> Result<Vec<Token>, TemplateError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut trim = false;
    while let Some((before, after)) = rest.split_once("{{") {
        let (action, after) = after.split_once("}}").ok_or(TemplateError::Open)?;
        let before = if trim { before.trim_start() } else { before };
        let (before, action) = match action.strip_prefix("- ") {
            Some(action) => (before.trim_end(), action),
            None => (before, action),
        };
        trim = action.ends_with(" -");
        let action = action.strip_suffix(" -").unwrap_or(action);
        tokens.push(Token::Text(unescape(before)));
        tokens.push(Token::Action(action.trim().to_owned()));
        rest = after;
    }
    let rest = if trim { rest.trim_start() } else { rest };
    tokens.push(Token::Text(unescape(rest)));
    Ok(tokens)
}

/// The shell leaves `\n` and `\t` to the template.
fn unescape(text: &str) -> String {
    text.replace("\\n", "\n").replace("\\t", "\t")
}

/// Reads nodes up to the word that ends them: `else`, `end`, or nothing.
fn nodes(tokens: &mut std::vec::IntoIter<Token>) -> Result<(Vec<Node>, Option<String>), TemplateError> {
    let mut found = Vec::new();
    while let Some(token) = tokens.next() {
        let action = match token {
            Token::Text(text) => {
                found.push(Node::Text(text));
                continue;
            }
            Token::Action(action) => action,
        };
        if action == "end" || action == "else" {
            return Ok((found, Some(action)));
        }
        if let Some(condition) = action.strip_prefix("if ") {
            let (then, otherwise) = branches(tokens, "if")?;
            found.push(Node::If(pipe(condition)?, then, otherwise));
        } else if let Some(list) = action.strip_prefix("range ") {
            let (body, otherwise) = branches(tokens, "range")?;
            found.push(Node::Range(pipe(list)?, body, otherwise));
        } else if !action.starts_with("/*") {
            found.push(Node::Print(pipe(&action)?));
        }
    }
    Ok((found, None))
}

fn branches(
    tokens: &mut std::vec::IntoIter<Token>,
    word: &'static str,
) -> Result<(Vec<Node>, Vec<Node>), TemplateError> {
    let (then, end) = nodes(tokens)?;
    match end.as_deref() {
        Some("end") => Ok((then, Vec::new())),
        Some("else") => match nodes(tokens)? {
            (otherwise, Some(end)) if end == "end" => Ok((then, otherwise)),
            _ => Err(TemplateError::NoEnd(word)),
        },
        _ => Err(TemplateError::NoEnd(word)),
    }
}

fn pipe(text: &str) -> Result<Pipe, TemplateError> {
    let mut rest = text.trim();
    let pipe = commands(&mut rest)?;
    if rest.is_empty() { Ok(pipe) } else { Err(TemplateError::Word(rest.to_owned())) }
}

fn commands(rest: &mut &str) -> Result<Pipe, TemplateError> {
    let mut pipe = vec![Vec::new()];
    loop {
        *rest = rest.trim_start();
        if rest.is_empty() || rest.starts_with(')') {
            break;
        }
        if let Some(after) = rest.strip_prefix('|') {
            *rest = after;
            pipe.push(Vec::new());
            continue;
        }
        let word = word(rest)?;
        if let Some(command) = pipe.last_mut() {
            command.push(word);
        }
    }
    if pipe.iter().any(Vec::is_empty) {
        return Err(TemplateError::Word("|".to_owned()));
    }
    Ok(pipe)
}

fn word(rest: &mut &str) -> Result<Word, TemplateError> {
    if let Some(after) = rest.strip_prefix('(') {
        *rest = after;
        let group = commands(rest)?;
        *rest = rest.strip_prefix(')').ok_or_else(|| TemplateError::Word("(".to_owned()))?;
        return Ok(Word::Group(group));
    }
    for quote in ['"', '`'] {
        if let Some(after) = rest.strip_prefix(quote) {
            let (text, after) = after.split_once(quote).ok_or_else(|| TemplateError::Word((*rest).to_owned()))?;
            *rest = after;
            return Ok(Word::Literal(Value::Text(unescape(text))));
        }
    }
    let end = rest.find(|it: char| it.is_whitespace() || matches!(it, '|' | '(' | ')')).unwrap_or(rest.len());
    let (text, after) = rest.split_at(end);
    *rest = after;
    if let Some(path) = text.strip_prefix('.') {
        return Ok(Word::Field(path.split('.').filter(|part| !part.is_empty()).map(str::to_owned).collect()));
    }
    match text {
        "true" | "false" => Ok(Word::Literal(Value::Bool(text == "true"))),
        _ if functions::NAMES.contains(&text) => Ok(Word::Function(text.to_owned())),
        _ => match text.parse() {
            Ok(number) => Ok(Word::Literal(Value::Number(number))),
            Err(_) => Err(TemplateError::Word(text.to_owned())),
        },
    }
}

fn render(nodes: &[Node], value: &Value, out: &mut String) -> Result<(), TemplateError> {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Print(pipe) => out.push_str(&evaluate(pipe, value)?.shown()),
            Node::If(condition, then, otherwise) => {
                render(if evaluate(condition, value)?.is_true() { then } else { otherwise }, value, out)?;
            }
            Node::Range(list, body, otherwise) => {
                let list = evaluate(list, value)?;
                let items: Vec<&Value> = match &list {
                    Value::List(items) => items.iter().collect(),
                    Value::Map(pairs) => pairs.values().collect(),
                    _ => Vec::new(),
                };
                if items.is_empty() {
                    render(otherwise, value, out)?;
                }
                items.into_iter().try_for_each(|item| render(body, item, out))?;
            }
        }
    }
    Ok(())
}

fn evaluate(pipe: &Pipe, value: &Value) -> Result<Value, TemplateError> {
    let mut last = None;
    for command in pipe {
        let Some((first, rest)) = command.split_first() else { continue };
        let mut arguments = rest.iter().map(|word| operand(word, value)).collect::<Result<Vec<_>, _>>()?;
        arguments.extend(last.take());
        last = Some(match first {
            Word::Function(name) => call(name, &arguments)?,
            word if arguments.is_empty() => operand(word, value)?,
            _ => return Err(TemplateError::Word(format!("{first:?}"))),
        });
    }
    Ok(last.unwrap_or(Value::Nil))
}

fn operand(word: &Word, value: &Value) -> Result<Value, TemplateError> {
    match word {
        Word::Literal(literal) => Ok(literal.clone()),
        Word::Group(pipe) => evaluate(pipe, value),
        Word::Function(name) => call(name, &[]),
        Word::Field(path) => value.at(path),
    }
}

/// Returns true if a format asks for the whole document and is no template, as the containers tools have it.
pub(crate) fn is_json(format: &str) -> bool {
    let action = format.trim();
    let action = action.strip_prefix("{{").and_then(|action| action.strip_suffix("}}")).map(str::trim);
    let rest = action.and_then(|action| action.strip_prefix("json"));
    format.trim() == "json" || rest.is_some_and(|rest| matches!(rest.trim(), "" | "."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str) -> Result<String, TemplateError> {
        let at = vec![("Created", Value::Time("2023-05-03T01:02:03+02:00".to_owned())), ("Never", Value::Nil)];
        let fields = vec![
            ("Name", Value::text("a/b")),
            ("Layers", Value::texts(["x", "y"])),
            ("Env", Value::List(Vec::new())),
            ("Labels", Value::map([("k", "v"), ("org.x", "z"), ("Upper", "u")])),
            ("Size", Value::Number(3)),
            ("Created", Value::Time("2023-05-03T01:02:03.5Z".to_owned())),
            ("At", Value::Struct(Struct { fields: at, json: r#"{"b":1,"a":2}"#.to_owned() })),
        ];
        Template::parse(template)?.render(&Value::Struct(Struct { fields, json: "{}".to_owned() }))
    }

    #[test]
    fn does_what_go_does() {
        for (template, wanted) in [
            ("plain", "plain"),
            ("Name: {{.Name}} Size: {{ .Size }}", "Name: a/b Size: 3"),
            ("{{.Layers}} {{.Labels}}", "[x y] map[Upper:u k:v org.x:z]"),
            ("{{.Env}} {{len .Env}} {{.At.Never}}", "[] 0 <nil>"),
            ("{{.Labels.k}} {{.Labels.none}} {{.Labels.none.k}}", "v <no value> <no value>"),
            ("{{index .Labels \"none\"}}|{{if .Labels.none}}yes{{else}}no{{end}}", "|no"),
            ("{{.At}}", "{2023-05-03 01:02:03 +0200 +0200 <nil>}"),
            ("{{json .At}} {{json .Labels}} {{json .Size}}", r#"{"b":1,"a":2} {"Upper":"u","k":"v","org.x":"z"} 3"#),
            ("{{json .Layers}}", r#"["x","y"]"#),
            ("{{.Layers | json}}", r#"["x","y"]"#),
            ("{{range .Layers}}{{.}}\\n{{end}}", "x\ny\n"),
            ("{{range .Layers}}{{println .}}{{end}}", "x\ny\n"),
            ("{{range .Env}}{{.}}{{else}}none{{end}}", "none"),
            ("{{index .Layers 1}} {{index .Labels \"org.x\"}}", "y z"),
            ("{{.Labels.k}}", "v"),
            ("{{len .Layers}}", "2"),
            ("{{join .Layers \", \"}}", "x, y"),
            ("{{upper .Name}} {{.Name | lower}}", "A/B a/b"),
            ("{{if .Env}}yes{{else}}no{{end}}", "no"),
            ("{{if eq .Size 3}}three{{end}}", "three"),
            ("a {{- .Size -}} b", "a3b"),
            ("{{(index .Layers 0) | upper}}", "X"),
            ("{{printf \"%s=%d %q 100%%\" .Name .Size .Name}}", "a/b=3 \"a/b\" 100%"),
            ("{{.Name | printf \"%v\"}}", "a/b"),
            ("{{.Created}}", "2023-05-03 01:02:03.5 +0000 UTC"),
            ("{{json .Created}}", "\"2023-05-03T01:02:03.5Z\""),
            ("{{.At.Created}}", "2023-05-03 01:02:03 +0200 +0200"),
        ] {
            assert_eq!(filled(template).as_deref(), Ok(wanted), "{template}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(filled("{{.Name"), Err(TemplateError::Open));
        assert_eq!(filled("{{.Nmae}}"), Err(TemplateError::Field(".Nmae".to_owned())));
        for field in [".At.Nope", ".Name.x", ".Layers.x", ".At.Never.x"] {
            assert_eq!(filled(&format!("{{{{{field}}}}}")), Err(TemplateError::Field(field.to_owned())));
        }
        assert_eq!(filled("{{if .Name}}x"), Err(TemplateError::NoEnd("if")));
        assert_eq!(filled("{{end}}"), Err(TemplateError::Unexpected("end".to_owned())));
        assert_eq!(filled("{{nope .Name}}"), Err(TemplateError::Word("nope".to_owned())));
        for wrong in ["upper .Layers", "printf", "printf \"%s\"", "printf \"%x\" .Size", "printf \"%s\" .Size .Size"] {
            assert!(matches!(filled(&format!("{{{{{wrong}}}}}")), Err(TemplateError::Argument { .. })), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "(\\{\\{|\\}\\}|[a-z.|()\" -]){0,30}") {
            if let Ok(template) = Template::parse(&text) {
                let _ = template.render(&Value::map([("a", "b")]));
            }
        }
    }
}
