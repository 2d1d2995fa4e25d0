//! `--format`: the part of Go's text/template that people use with skopeo and podman.
//!
//! Fields (`{{.Name}}`, `{{.Labels.x}}`), `json`, `join`, `index`, `len`, `upper`, `lower`, `println`, `print`,
//! `printf`, `eq`, `ne`, `not`, pipes, `if`/`else`/`end`, `range`/`else`/`end`, strings, numbers and `{{-`/`-}}`.

use serde_json::Value;

/// A template, read.
#[derive(Debug)]
pub(super) struct Template {
    nodes: Vec<Node>,
    ends_line: bool,
}

/// A template that cannot be read, or that asks for what is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(super) enum TemplateError {
    #[error("the template has {{{{ without }}}}")]
    Open,
    #[error("the template has {{{{{0}}}}} where it cannot be")]
    Unexpected(String),
    #[error("the template has no {{{{end}}}} for {{{{{0}}}}}")]
    NoEnd(&'static str),
    #[error("{0:?} in the template is not understood")]
    Word(String),
    #[error("there is no field {0}")]
    Field(String),
    #[error("{function} cannot be used on {found}")]
    Argument { function: String, found: String },
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
            return Ok(Word::Literal(Value::String(unescape(text))));
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
        _ if text.parse::<i64>().is_ok() => Ok(Word::Literal(text.parse::<i64>().unwrap_or_default().into())),
        "json" | "join" | "index" | "len" | "upper" | "lower" | "println" | "print" | "printf" | "eq" | "ne"
        | "not" => Ok(Word::Function(text.to_owned())),
        _ => Err(TemplateError::Word(text.to_owned())),
    }
}

fn render(nodes: &[Node], value: &Value, out: &mut String) -> Result<(), TemplateError> {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Print(pipe) => {
                let printed = shown(&evaluate(pipe, value)?);
                out.push_str(&time_of(pipe, &printed).unwrap_or(printed));
            }
            Node::If(condition, then, otherwise) => {
                render(if is_true(&evaluate(condition, value)?) { then } else { otherwise }, value, out)?;
            }
            Node::Range(list, body, otherwise) => {
                let list = evaluate(list, value)?;
                let items: Vec<&Value> = match &list {
                    Value::Array(items) => items.iter().collect(),
                    Value::Object(fields) => fields.values().collect(),
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

/// The time that a field called `Created` has, as Go prints times: only in JSON they look as RFC 3339 has them.
fn time_of(pipe: &Pipe, printed: &str) -> Option<String> {
    let [command] = pipe.as_slice() else { return None };
    let [Word::Field(path)] = command.as_slice() else { return None };
    path.last().filter(|name| *name == "Created")?;
    let (date, time) = printed.split_once('T')?;
    if let Some(time) = time.strip_suffix('Z') {
        return Some(format!("{date} {time} +0000 UTC"));
    }
    let (time, offset) = time.split_at_checked(time.rfind(['+', '-'])?)?;
    let offset = offset.replace(':', "");
    Some(format!("{date} {time} {offset} {offset}"))
}

/// What `printf` makes of its arguments: `%s`, `%v`, `%d`, `%q` and `%%`.
fn formatted(arguments: &[Value]) -> Option<String> {
    let (format, arguments) = arguments.split_first()?;
    let (mut arguments, mut format, mut out) = (arguments.iter(), format.as_str()?.chars(), String::new());
    while let Some(character) = format.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        match format.next()? {
            '%' => out.push('%'),
            's' | 'v' | 'd' => out.push_str(&shown(arguments.next()?)),
            'q' => out.push_str(&Value::String(shown(arguments.next()?)).to_string()),
            _ => return None,
        }
    }
    arguments.next().is_none().then_some(out)
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
    Ok(last.unwrap_or(Value::Null))
}

fn operand(word: &Word, value: &Value) -> Result<Value, TemplateError> {
    match word {
        Word::Literal(literal) => Ok(literal.clone()),
        Word::Group(pipe) => evaluate(pipe, value),
        Word::Function(name) => call(name, &[]),
        Word::Field(path) => {
            let mut found = value;
            for part in path {
                found = match found {
                    // As Go does for a map without that key, or without any.
                    Value::Object(fields) if fields.keys().any(|key| key.starts_with(char::is_uppercase)) => {
                        fields.get(part).ok_or_else(|| TemplateError::Field(format!(".{}", path.join("."))))?
                    }
                    Value::Object(fields) => fields.get(part).unwrap_or(&Value::Null),
                    Value::Null => &Value::Null,
                    _ => return Err(TemplateError::Field(format!(".{}", path.join(".")))),
                };
            }
            Ok(found.clone())
        }
    }
}

fn call(name: &str, arguments: &[Value]) -> Result<Value, TemplateError> {
    let bad = || TemplateError::Argument {
        function: name.to_owned(),
        found: arguments.iter().map(shown).collect::<Vec<_>>().join(" "),
    };
    let text = || arguments.last().and_then(Value::as_str).ok_or_else(bad);
    let all = |between: &str| arguments.iter().map(shown).collect::<Vec<_>>().join(between);
    Ok(match (name, arguments) {
        ("json", [value]) => Value::String(value.to_string()),
        ("upper", [_]) => text()?.to_uppercase().into(),
        ("lower", [_]) => text()?.to_lowercase().into(),
        ("println", _) => format!("{}\n", all(" ")).into(),
        ("print", _) => all("").into(),
        ("printf", arguments) => formatted(arguments).ok_or_else(bad)?.into(),
        ("not", [value]) => (!is_true(value)).into(),
        ("eq", [first, rest @ ..]) => rest.contains(first).into(),
        ("ne", [first, second]) => (first != second).into(),
        ("len", [Value::String(text)]) => text.len().into(),
        ("len", [Value::Array(items)]) => items.len().into(),
        ("len", [Value::Object(fields)]) => fields.len().into(),
        ("len", [Value::Null]) => 0.into(),
        ("join", [Value::Array(items), Value::String(between)]) => {
            items.iter().map(shown).collect::<Vec<_>>().join(between).into()
        }
        ("join", [Value::Null, _]) => "".into(),
        ("index", [value, keys @ ..]) => {
            let step = |found: &Value, key: &Value| match (found, key) {
                (Value::Array(items), Value::Number(number)) => {
                    number.as_u64().and_then(|at| items.get(usize::try_from(at).ok()?)).cloned().ok_or_else(bad)
                }
                (Value::Object(fields), Value::String(key)) => {
                    Ok(fields.get(key).cloned().unwrap_or_else(|| "".into()))
                }
                (Value::Null, _) => Ok("".into()),
                _ => Err(bad()),
            };
            keys.iter().try_fold(value.clone(), |found, key| step(&found, key))?
        }
        _ => return Err(bad()),
    })
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// A value as Go's `%v` prints it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key}:{}", shown(value))).collect();
            format!("map[{}]", fields.join(" "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str) -> Result<String, TemplateError> {
        let value = serde_json::json!({
            "Name": "a/b", "Layers": ["x", "y"], "Env": null, "Labels": {"k": "v", "org.x": "z"}, "Size": 3,
            "Created": "2023-05-03T01:02:03.5Z", "At": {"Created": "2023-05-03T01:02:03+02:00"},
        });
        Template::parse(template)?.render(&value)
    }

    #[test]
    fn does_what_go_does() {
        for (template, wanted) in [
            ("plain", "plain"),
            ("Name: {{.Name}} Size: {{ .Size }}", "Name: a/b Size: 3"),
            ("{{.Layers}} {{.Labels}}", "[x y] map[k:v org.x:z]"),
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
                let _ = template.render(&serde_json::json!({"A": [1, {"b": null}]}));
            }
        }
    }
}
