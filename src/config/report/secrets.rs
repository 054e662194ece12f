//! Secrets in the lines that a report shows: their characters are hidden, and everything else stays where
//! it is. A report ends in a terminal's history, in a CI's log, in a question to a colleague.

use crate::model::text::names_secret;

/// What stands for a hidden character.
const HIDDEN: char = '•';
/// What TOML's texts over several lines begin and end with.
const LONG_QUOTES: [&str; 2] = ["\"\"\"", "'''"];

/// Lines of one file, from the first on.
#[derive(Clone, Default)]
pub(super) struct Redactor {
    /// What closes the secret that goes on from the line before.
    open: Option<&'static str>,
    /// How many brackets of a secret's array or table are open: all that they hold is secret.
    depth: usize,
}

impl Redactor {
    /// The next line, which is not shown: what goes on behind it is known.
    pub(super) fn pass(&mut self, line: &str) {
        let is_open = self.open.is_some() || self.depth > 0;
        let may_open = || line.contains(['[', '{', '"', '\'']) && names_secret(line);
        if is_open || may_open() {
            self.over(line);
        }
    }

    /// The next line, without its secrets. It has as many characters as before.
    pub(super) fn over(&mut self, line: &str) -> String {
        let mut shown = String::with_capacity(line.len());
        let mut rest = line;
        if let Some(quote) = self.open {
            let end = rest.find(quote);
            self.open = end.is_none().then_some(quote);
            let behind = hide(&mut shown, rest, end.unwrap_or(rest.len()));
            rest = take(&mut shown, behind, end.map_or(0, |_| quote.len()));
        }
        let mut is_secret = self.depth > 0;
        let mut is_comment = false;
        while let Some(first) = rest.chars().next() {
            let long = LONG_QUOTES.into_iter().find(|quote| rest.starts_with(quote));
            rest = match (long, first) {
                (Some(quote), _) => {
                    shown.push_str(quote);
                    let inside = &rest[quote.len()..];
                    let end = inside.find(quote);
                    let text_end = end.unwrap_or(inside.len());
                    self.open = (is_secret && end.is_none()).then_some(quote);
                    let behind = text(&mut shown, inside, text_end, is_secret);
                    take(&mut shown, behind, end.map_or(0, |_| quote.len()))
                }
                (None, '"' | '\'') => {
                    shown.push(first);
                    let inside = &rest[1..];
                    let end = end_of_text(inside, first);
                    let behind = text(&mut shown, inside, end, is_secret);
                    take(&mut shown, behind, usize::from(!behind.is_empty()))
                }
                (None, '=') => {
                    is_secret = self.depth > 0 || is_secret_key(&shown);
                    take(&mut shown, rest, 1)
                }
                (None, '[' | '{') if is_secret && !is_comment => {
                    self.depth += 1;
                    take(&mut shown, rest, 1)
                }
                (None, ']' | '}') if self.depth > 0 && !is_comment => {
                    self.depth -= 1;
                    is_secret = self.depth > 0;
                    take(&mut shown, rest, 1)
                }
                (None, '#') => {
                    is_comment = true;
                    take(&mut shown, rest, 1)
                }
                (None, _) => take(&mut shown, rest, first.len_utf8()),
            };
        }
        hide_hashes(&shown)
    }
}

/// Moves `length` bytes over as they are.
fn take<'t>(shown: &mut String, text: &'t str, length: usize) -> &'t str {
    let (taken, rest) = text.split_at(length);
    shown.push_str(taken);
    rest
}

/// Moves `length` bytes over, hidden.
fn hide<'t>(shown: &mut String, text: &'t str, length: usize) -> &'t str {
    let (taken, rest) = text.split_at(length);
    shown.extend(taken.chars().map(|_| HIDDEN));
    rest
}

fn text<'t>(shown: &mut String, text: &'t str, length: usize, is_secret: bool) -> &'t str {
    match is_secret {
        true => hide(shown, text, length),
        false => take(shown, text, length),
    }
}

/// Where a text of one line ends; a `\` keeps a `"` from ending it.
fn end_of_text(inside: &str, quote: char) -> usize {
    let mut is_escaped = false;
    let end = inside.char_indices().find(|(_, c)| {
        let ends = *c == quote && !is_escaped;
        is_escaped = quote == '"' && *c == '\\' && !is_escaped;
        ends
    });
    end.map_or(inside.len(), |(at, _)| at)
}

/// Whether the key at the end of `before` names a secret.
fn is_secret_key(before: &str) -> bool {
    let before = before.trim_end().trim_end_matches(['"', '\'']);
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let key = before.rsplit(|c: char| !is_part(c)).next().unwrap_or_default();
    names_secret(key.rsplit('.').next().unwrap_or_default())
}

/// Hides what crypt(3) makes of a password, wherever it stands: `$6$salt$hash`.
fn hide_hashes(line: &str) -> String {
    let is_inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '$' | '.' | '/' | '=' | ',' | '+' | '-');
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find('$') {
        let end = rest[at..].find(|c| !is_inside(c)).map_or(rest.len(), |end| at + end);
        let word = &rest[at..end];
        let parts: Vec<&str> = word[1..].split('$').collect();
        let is_hash = parts.len() >= 3 && (1..=4).contains(&parts[0].len()) && word.len() >= 13;
        let behind = take(&mut shown, rest, at);
        rest = text(&mut shown, behind, end - at, is_hash);
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(lines: &str) -> Vec<String> {
        let mut veil = Redactor::default();
        let shown: Vec<String> = lines.lines().map(|line| veil.over(line)).collect();
        for (line, shown) in lines.lines().zip(&shown) {
            assert_eq!(line.chars().count(), shown.chars().count(), "{line}");
        }
        shown
    }

    #[test]
    fn a_secrets_value_is_hidden_and_its_neighbours_are_not() {
        assert_eq!(
            shown("vars = { disk = \"/dev/vda\", password_hash = \"a\\\"b c\", x = 1 }"),
            ["vars = { disk = \"/dev/vda\", password_hash = \"••••••\", x = 1 }"]
        );
        assert_eq!(
            shown("\"join-token\" = ['ab', \"c\"]"),
            ["\"join-token\" = ['••', \"•\"]"]
        );
        assert_eq!(shown("talos.Token = 'ab"), ["talos.Token = '••"]);
        assert_eq!(shown("token = 'a'\nname = \"b\""), ["token = '•'", "name = \"b\""]);
        assert_eq!(
            shown("cmdline = [\"a=b\", 'passwd=x']"),
            ["cmdline = [\"a=b\", 'passwd=x']"]
        );
    }

    #[test]
    fn a_secret_over_several_lines_is_hidden_to_its_end() {
        let lines = "private_key = \"\"\"\nabc\nde\"\"\" # f\nname = \"g\"";
        let wanted = ["private_key = \"\"\"", "•••", "••\"\"\" # f", "name = \"g\""];
        assert_eq!(shown(lines), wanted);
        assert_eq!(shown("a = '''b\nc'''"), ["a = '''b", "c'''"]);
        let list = "tokens = [ # ]\n  \"ab\", # \"c\"\n  ['d'],\n]\nname = \"e\"";
        let wanted = ["tokens = [ # ]", "  \"••\", # \"•\"", "  ['•'],", "]", "name = \"e\""];
        assert_eq!(shown(list), wanted);
        let table = "secrets = { a = [\"b\"],\n c = \"d\" }, e = \"f\"";
        assert_eq!(shown(table), ["secrets = { a = [\"•\"],", " c = \"•\" }, e = \"f\""]);
    }

    #[test]
    fn a_password_hash_is_known_by_its_form() {
        let hidden = "•".repeat("$6$salt$abcdefgh./".len());
        assert_eq!(shown("x = \"$6$salt$abcdefgh./\""), [format!("x = \"{hidden}\"")]);
        assert_eq!(
            shown("rootpw --iscrypted $y$j9T$ab$cdefgh {{ x }}")[0]
                .matches('$')
                .count(),
            0
        );
        for plain in ["echo ${a[@]} $b$c", "price $1", "$", "a$b$c$d"] {
            assert_eq!(shown(plain), [plain]);
        }
    }
}
