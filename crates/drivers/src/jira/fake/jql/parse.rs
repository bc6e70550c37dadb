//! Parses JQL.

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Clause {
    And(Vec<Clause>),
    Or(Vec<Clause>),
    Not(Box<Clause>),
    Compare { field: String, operator: Operator, values: Vec<String> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Contains,
    In,
    NotIn,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    IsEmpty,
    IsNotEmpty,
}

/// A query.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Query {
    /// `None` = all issues.
    pub(crate) clause: Option<Clause>,
    /// Fields, and whether each descends.
    pub(crate) order: Vec<(String, bool)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Symbol(&'static str),
}

const SYMBOLS: &[&str] = &["!=", ">=", "<=", "=", "~", ">", "<", "(", ")", ","];
/// Conditions inside of each other at most.
const DEPTH_MAX: usize = 50;

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            tokens.push(Token::Symbol(symbol));
            rest = &rest[symbol.len()..];
        } else if first == '"' || first == '\'' {
            let (text, length) = quoted(rest, first)?;
            tokens.push(Token::Text(text));
            rest = &rest[length..];
        } else {
            let is_end = |c: char| c.is_whitespace() || "=!~<>(),\"'".contains(c);
            let end = rest.find(is_end).unwrap_or(rest.len());
            if end == 0 {
                return Err(format!(
                    "Error in the JQL Query: The character '{first}' is a reserved JQL character."
                ));
            }
            tokens.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    Ok(tokens)
}

/// The text in quotes at the begin of `text`, and its length with the quotes.
fn quoted(text: &str, quote: char) -> Result<(String, usize), String> {
    let (mut out, mut is_escaped) = (String::new(), false);
    for (at, c) in text.char_indices().skip(1) {
        match (is_escaped, c) {
            (false, '\\') => is_escaped = true,
            (false, c) if c == quote => return Ok((out, at + 1)),
            (_, c) => {
                out.push(c);
                is_escaped = false;
            }
        }
    }
    Err("Error in the JQL Query: The quoted string has not been completed.".to_owned())
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek_word(&self) -> Option<String> {
        match self.tokens.get(self.at) {
            Some(Token::Word(word)) => Some(word.to_lowercase()),
            _ => None,
        }
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let found = self.peek_word().is_some_and(|found| found == word);
        self.at += usize::from(found);
        found
    }

    fn takes(&mut self, symbol: &'static str) -> bool {
        let found = self.tokens.get(self.at) == Some(&Token::Symbol(symbol));
        self.at += usize::from(found);
        found
    }

    fn either(&mut self, depth: usize) -> Result<Clause, String> {
        let mut clauses = vec![self.both(depth)?];
        while self.takes_word("or") {
            clauses.push(self.both(depth)?);
        }
        Ok(if clauses.len() == 1 { clauses.remove(0) } else { Clause::Or(clauses) })
    }

    fn both(&mut self, depth: usize) -> Result<Clause, String> {
        let mut clauses = vec![self.one(depth)?];
        while self.takes_word("and") {
            clauses.push(self.one(depth)?);
        }
        Ok(if clauses.len() == 1 { clauses.remove(0) } else { Clause::And(clauses) })
    }

    fn one(&mut self, depth: usize) -> Result<Clause, String> {
        if depth == 0 {
            return Err("Error in the JQL Query: It is nested too deeply.".to_owned());
        }
        if self.takes_word("not") {
            return Ok(Clause::Not(Box::new(self.one(depth - 1)?)));
        }
        if self.takes("(") {
            let inner = self.either(depth - 1)?;
            return if self.takes(")") { Ok(inner) } else { Err(self.expected("')'")) };
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Clause, String> {
        let field = match self.tokens.get(self.at) {
            Some(Token::Word(word) | Token::Text(word)) => word.clone(),
            _ => return Err(self.expected("a field")),
        };
        self.at += 1;
        let symbols = [
            ("=", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("~", Operator::Contains),
            (">=", Operator::GreaterOrEqual),
            ("<=", Operator::LessOrEqual),
            (">", Operator::Greater),
            ("<", Operator::Less),
        ];
        for (symbol, operator) in symbols {
            if self.takes(symbol) {
                let values = vec![self.value()?];
                return Ok(Clause::Compare { field, operator, values });
            }
        }
        if self.takes_word("is") {
            let operator =
                if self.takes_word("not") { Operator::IsNotEmpty } else { Operator::IsEmpty };
            if !self.takes_word("empty") && !self.takes_word("null") {
                return Err(self.expected("'empty'"));
            }
            return Ok(Clause::Compare { field, operator, values: Vec::new() });
        }
        let operator = if self.takes_word("not") { Operator::NotIn } else { Operator::In };
        if !self.takes_word("in") || !self.takes("(") {
            return Err(self.expected("an operator"));
        }
        let mut values = vec![self.value()?];
        while self.takes(",") {
            values.push(self.value()?);
        }
        if !self.takes(")") {
            return Err(self.expected("')'"));
        }
        Ok(Clause::Compare { field, operator, values })
    }

    fn value(&mut self) -> Result<String, String> {
        let value = match self.tokens.get(self.at) {
            Some(Token::Word(word) | Token::Text(word)) => word.clone(),
            _ => return Err(self.expected("a value")),
        };
        self.at += 1;
        if self.takes("(") {
            if !self.takes(")") {
                return Err(self.expected("')'"));
            }
            return Ok(value + "()");
        }
        Ok(value)
    }

    fn expected(&self, what: &str) -> String {
        match self.tokens.get(self.at) {
            Some(Token::Word(found) | Token::Text(found)) => {
                format!("Error in the JQL Query: Expecting {what} but got '{found}'.")
            }
            Some(Token::Symbol(found)) => {
                format!("Error in the JQL Query: Expecting {what} but got '{found}'.")
            }
            None => {
                format!("Error in the JQL Query: Expecting {what} before the end of the query.")
            }
        }
    }
}

/// Parses a query.
///
/// # Errors
/// JIRA's message about what is wrong.
pub(crate) fn query(text: &str) -> Result<Query, String> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0 };
    let is_ordered_only = parser.peek_word().is_some_and(|word| word == "order");
    let clause = if parser.tokens.is_empty() || is_ordered_only {
        None
    } else {
        Some(parser.either(DEPTH_MAX)?)
    };
    let mut order = Vec::new();
    if parser.takes_word("order") {
        if !parser.takes_word("by") {
            return Err(parser.expected("'by'"));
        }
        loop {
            let field = parser.value()?;
            let descends = parser.takes_word("desc");
            if !descends {
                parser.takes_word("asc");
            }
            order.push((field.to_lowercase(), descends));
            if !parser.takes(",") {
                break;
            }
        }
    }
    if parser.at < parser.tokens.len() {
        return Err(parser.expected("either 'OR' or 'AND'"));
    }
    Ok(Query { clause, order })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read() {
        let found = query(
            r#"project = "A B" and (labels in (x, 'y') or not id != 3) order by created desc, key"#,
        );
        let compare = |field: &str, operator, values: &[&str]| Clause::Compare {
            field: field.to_owned(),
            operator,
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        };
        let expected = Clause::And(vec![
            compare("project", Operator::Equal, &["A B"]),
            Clause::Or(vec![
                compare("labels", Operator::In, &["x", "y"]),
                Clause::Not(Box::new(compare("id", Operator::NotEqual, &["3"]))),
            ]),
        ]);
        let order = vec![("created".to_owned(), true), ("key".to_owned(), false)];
        assert_eq!(found, Ok(Query { clause: Some(expected), order }));
        let since = query("updated >= -5m and creator = currentUser()").unwrap().clause;
        let expected = Clause::And(vec![
            compare("updated", Operator::GreaterOrEqual, &["-5m"]),
            compare("creator", Operator::Equal, &["currentUser()"]),
        ]);
        assert_eq!(since, Some(expected));
        assert_eq!(query("order by id").unwrap().clause, None);
        assert_eq!(query("").unwrap().clause, None);
    }

    #[test]
    fn what_is_no_query_is_refused() {
        for text in [
            "project",
            "project =",
            "project = a b",
            "(id = 1",
            "id in 1",
            "a = \"b",
            "id = 1 order",
            "= 1",
        ] {
            assert!(query(text).is_err(), "{text}");
        }
        assert!(query(&"(".repeat(1_000)).is_err());
    }
}
