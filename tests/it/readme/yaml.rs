//! As much of YAML as the snippets use: maps, lists, text, blocks of text, lists in a line.

use serde_json::{Map, Value};

pub(super) fn parse(text: &str) -> Value {
    let lines: Vec<&str> =
        text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')).collect();
    let mut rest = lines.as_slice();
    let value = node(&mut rest, indent(lines[0]));
    assert!(rest.is_empty(), "not read as YAML: {rest:?}");
    value
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn node(rest: &mut &[&str], depth: usize) -> Value {
    if rest[0].trim_start().starts_with("- ") { list(rest, depth) } else { map(rest, depth) }
}

fn list(rest: &mut &[&str], depth: usize) -> Value {
    let mut items = Vec::new();
    while let Some(item) =
        rest.first().filter(|line| indent(line) == depth).and_then(|line| line.trim().strip_prefix("- "))
    {
        let is_map = item.split_once(": ").is_some_and(|(name, _)| name.chars().all(char::is_alphabetic));
        if !is_map {
            items.push(scalar(item));
            *rest = &rest[1..];
            continue;
        }
        // The first member stands behind the dash.
        let first = format!("{}{item}", " ".repeat(depth + 2));
        let own: Vec<&str> = std::iter::once(first.as_str())
            .chain(rest[1..].iter().copied().take_while(|line| indent(line) > depth))
            .collect();
        *rest = &rest[own.len()..];
        items.push(map(&mut own.as_slice(), depth + 2));
    }
    items.into()
}

fn map(rest: &mut &[&str], depth: usize) -> Value {
    let mut members = Map::new();
    while let Some(line) = rest.first().filter(|line| indent(line) == depth) {
        let (name, value) = line.trim().split_once(':').unwrap_or_else(|| panic!("no member: {line}"));
        *rest = &rest[1..];
        let value = match value.trim() {
            "|" => {
                let within = rest.iter().take_while(|line| indent(line) > depth).count();
                let (text, after) = rest.split_at(within);
                *rest = after;
                text.iter().map(|line| format!("{}\n", line.trim())).collect::<String>().into()
            }
            "" => node(rest, indent(rest[0])),
            value => scalar(value),
        };
        assert!(members.insert(name.to_owned(), value).is_none(), "{name} twice");
    }
    members.into()
}

fn scalar(text: &str) -> Value {
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(items) => items.split(", ").collect(),
        None => text.into(),
    }
}
