//! The arguments of a query or of an urlencoded form while they are changed. What is not changed stays as it was written.

use super::lines::Steps;
use crate::http::query;

/// Arguments in their order, over one buffer that is used again.
#[derive(Default)]
pub(in crate::plugins) struct Arguments {
    text: Vec<u8>,
    list: Vec<Argument>,
    scratch: Vec<u8>,
}

/// Spans of the buffer.
#[derive(Clone, Copy)]
struct Argument {
    /// Decoded.
    name: (u32, u32),
    /// The name as it was written, where it still is.
    written: Option<(u32, u32)>,
    /// Encoded; `None` without `=`.
    value: Option<(u32, u32)>,
}

impl Arguments {
    /// Reads a query in the place of what was there, without the arguments whose decoded name is `gone`.
    pub(in crate::plugins) fn read(&mut self, query: &[u8], gone: impl Fn(&[u8]) -> bool) {
        self.text.clear();
        self.list.clear();
        self.add_all(query, gone);
    }

    /// Adds the arguments of another one.
    pub(in crate::plugins) fn add_all(&mut self, query: &[u8], gone: impl Fn(&[u8]) -> bool) {
        let mut scratch = std::mem::take(&mut self.scratch);
        for arg in query::args(query) {
            let name = query::decode(arg.name, &mut scratch);
            if gone(name) {
                continue;
            }
            let name = self.store(name);
            let written = self.store(arg.name);
            let value = arg.value.map(|value| self.store(value));
            self.list.push(Argument { name, written: Some(written), value });
        }
        self.scratch = scratch;
    }

    pub(in crate::plugins) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Takes the steps; whether anything was to be changed. Without `had`, only those that build from nothing.
    pub(in crate::plugins) fn change<'v>(
        &mut self,
        steps: &Steps,
        had: bool,
        value: impl Fn(usize) -> &'v [u8],
    ) -> bool {
        let mut changed = false;
        if had {
            for name in &steps.remove {
                self.retain(|held| held != name.as_bytes());
                changed = true;
            }
            for (old, new) in &steps.rename {
                changed |= self.rename(old.as_bytes(), new.as_bytes());
            }
            for given in &steps.replace {
                changed |= self.replace(given.name.as_bytes(), value(given.value));
            }
        }
        for given in &steps.add {
            if !self.has(given.name.as_bytes()) {
                self.push(given.name.as_bytes(), value(given.value));
                changed = true;
            }
        }
        for given in &steps.append {
            self.push(given.name.as_bytes(), value(given.value));
            changed = true;
        }
        changed
    }

    /// Appends the arguments as they are sent.
    pub(in crate::plugins) fn write(&self, out: &mut Vec<u8>) {
        for (at, argument) in self.list.iter().enumerate() {
            if at > 0 {
                out.push(b'&');
            }
            match argument.written {
                Some(written) => out.extend_from_slice(self.at(written)),
                None => query::encode(self.at(argument.name), out),
            }
            if let Some(value) = argument.value {
                out.push(b'=');
                out.extend_from_slice(self.at(value));
            }
        }
    }

    fn at(&self, (from, to): (u32, u32)) -> &[u8] {
        &self.text[from as usize..to as usize]
    }

    fn store(&mut self, bytes: &[u8]) -> (u32, u32) {
        let from = self.text.len() as u32;
        self.text.extend_from_slice(bytes);
        (from, self.text.len() as u32)
    }

    fn encoded(&mut self, bytes: &[u8]) -> (u32, u32) {
        let from = self.text.len() as u32;
        query::encode(bytes, &mut self.text);
        (from, self.text.len() as u32)
    }

    fn has(&self, name: &[u8]) -> bool {
        self.list.iter().any(|argument| self.at(argument.name) == name)
    }

    fn retain(&mut self, keep: impl Fn(&[u8]) -> bool) {
        let Self { text, list, .. } = self;
        list.retain(|argument| keep(&text[argument.name.0 as usize..argument.name.1 as usize]));
    }

    fn push(&mut self, name: &[u8], value: &[u8]) {
        let name = self.store(name);
        let value = self.encoded(value);
        self.list.push(Argument { name, written: None, value: Some(value) });
    }

    fn rename(&mut self, old: &[u8], new: &[u8]) -> bool {
        if old == new || !self.has(old) {
            return false;
        }
        self.retain(|held| held != new);
        let name = self.store(new);
        for at in 0..self.list.len() {
            if self.at(self.list[at].name) == old {
                self.list[at].name = name;
                self.list[at].written = None;
            }
        }
        true
    }

    /// The first of the name gets the value, the others go.
    fn replace(&mut self, name: &[u8], value: &[u8]) -> bool {
        let Some(first) = self.list.iter().position(|argument| self.at(argument.name) == name) else { return false };
        self.list[first].value = Some(self.encoded(value));
        let Self { text, list, .. } = self;
        let mut at = 0;
        list.retain(|argument| {
            at += 1;
            at - 1 == first || &text[argument.name.0 as usize..argument.name.1 as usize] != name
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines::Given;
    use super::*;

    #[track_caller]
    fn check(query: &str, steps: &Steps, want: &str) {
        let values: [&[u8]; 2] = [b"v 1", b"&\r\n"];
        let mut arguments = Arguments::default();
        arguments.read(query.as_bytes(), |_| false);
        arguments.change(steps, true, |at| values[at]);
        let mut out = Vec::new();
        arguments.write(&mut out);
        assert_eq!(String::from_utf8(out).expect("ASCII"), want, "{query}");
    }

    #[test]
    fn steps_are_taken_in_order_and_the_rest_stays_as_written() {
        let given = |name: &str, value| vec![Given { name: name.to_owned(), value }];
        let steps = |work: &dyn Fn(&mut Steps)| {
            let mut steps = Steps::default();
            work(&mut steps);
            steps
        };
        check("a=%41+b&&c", &Steps::default(), "a=%41+b&c");
        check("a=1&%61=2&b=3", &steps(&|s| s.remove = vec!["a".into()]), "b=3");
        check("a=%20&b=1", &steps(&|s| s.rename = vec![("a".into(), "b".into())]), "b=%20");
        check("a=1", &steps(&|s| s.rename = vec![("x".into(), "b".into())]), "a=1");
        check("a=1&b&a=2", &steps(&|s| s.replace = given("a", 1)), "a=%26%0D%0A&b");
        check("b", &steps(&|s| s.replace = given("a", 1)), "b");
        check("b", &steps(&|s| s.add = given("a", 0)), "b&a=v%201");
        check("a", &steps(&|s| s.add = given("a", 0)), "a");
        check("a=0", &steps(&|s| s.append = given("a", 0)), "a=0&a=v%201");
        let all = |s: &mut Steps| {
            s.remove = vec!["a".into()];
            s.add = given("a", 0);
        };
        check("a=0", &steps(&all), "a=v%201");
    }
}
