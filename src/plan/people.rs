//! Consumers and their credentials. There may be a hundred thousand: a row of one is its id and a place in the text of all,
//! so one with a 15-letter name takes some 40 bytes, and a key of 32 letters 65.
//!
//! Rows are read through views, which borrow from the text: [`Consumer`], [`Credential`]. Found by what a request brings
//! they are in `hook/directory.rs`.

use super::packed::{place, put_maybe, put_number, put_text, Unpack};
use crate::base::id::ConsumerIx;
use crate::base::span::Span;
use std::sync::Arc;
use uuid::Uuid;

/// All consumers of a plan, in the order they were written.
#[derive(Clone, Debug, Default)]
pub struct Consumers {
    rows: Vec<Row>,
    texts: Texts,
}

/// All credentials of a plan, in the order they were written. Its `Debug` shows no secret.
#[derive(Clone, Default)]
pub struct Credentials {
    rows: Vec<(Row, ConsumerIx)>,
    texts: Texts,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[derive(Clone, Copy, Debug)]
struct Row {
    id: Uuid,
    /// Where its text begins.
    at: u32,
}

const _: () = assert!(size_of::<Row>() == 20 && size_of::<(Row, ConsumerIx)>() == 24);

/// The texts of all rows, and the files that they come from.
#[derive(Clone, Default)]
struct Texts {
    packed: String,
    files: Vec<Arc<str>>,
}

impl std::fmt::Debug for Texts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Texts").field("bytes", &self.packed.len()).finish_non_exhaustive()
    }
}

impl Texts {
    fn put_span(&mut self, at: &Span) {
        // Rows of one file follow each other, and there are few files.
        let held = self.files.iter().rposition(|held| *held == at.file);
        let file = held.unwrap_or_else(|| {
            self.files.push(at.file.clone());
            self.files.len() - 1
        });
        for number in [file as u64, at.line.into(), at.column.into()] {
            put_number(&mut self.packed, number);
        }
    }

    fn span(&self, unpack: &mut Unpack<'_>) -> Span {
        let (file, line, column) = (unpack.number(), unpack.number(), unpack.number());
        match self.files.get(file as usize) {
            Some(file) => Span::new(file, line as u32, column as u32),
            None => Span::nowhere(),
        }
    }
}

/// A consumer that is put among the others.
#[derive(Clone, Copy, Debug)]
pub struct NewConsumer<'a> {
    /// Stable id.
    pub id: Uuid,
    /// Unique name.
    pub username: Option<&'a str>,
    /// Unique name of somebody else's.
    pub custom_id: Option<&'a str>,
    /// Groups, for access lists.
    pub groups: &'a [&'a str],
    /// Tags.
    pub tags: &'a [&'a str],
    /// Where it was written.
    pub at: &'a Span,
}

/// Who sends requests.
#[derive(Clone, Copy, Debug)]
pub struct Consumer<'p> {
    /// Stable id.
    pub id: Uuid,
    /// Unique name.
    pub username: Option<&'p str>,
    /// Unique name of somebody else's.
    pub custom_id: Option<&'p str>,
    rest: Unpack<'p>,
    texts: &'p Texts,
}

impl<'p> Consumer<'p> {
    /// Groups, for access lists.
    pub fn groups(&self) -> impl Iterator<Item = &'p str> {
        let mut rest = self.rest;
        (0..rest.number()).map(move |_| rest.text())
    }

    /// Tags.
    pub fn tags(&self) -> impl Iterator<Item = &'p str> {
        let mut rest = self.after(1);
        (0..rest.number()).map(move |_| rest.text())
    }

    /// Where it was written.
    pub fn at(&self) -> Span {
        self.texts.span(&mut self.after(2))
    }

    /// What comes after so many lists.
    fn after(&self, lists: usize) -> Unpack<'p> {
        let mut rest = self.rest;
        for _ in 0..lists {
            for _ in 0..rest.number() {
                rest.text();
            }
        }
        rest
    }
}

impl Consumers {
    /// Puts one behind the others.
    pub fn push(&mut self, new: NewConsumer<'_>) {
        let at = place(&self.texts.packed);
        self.rows.push(Row { id: new.id, at });
        let packed = &mut self.texts.packed;
        put_maybe(packed, new.username);
        put_maybe(packed, new.custom_id);
        for list in [new.groups, new.tags] {
            put_number(packed, list.len() as u64);
            list.iter().for_each(|text| put_text(packed, text));
        }
        self.texts.put_span(new.at);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The one at a place of this plan.
    pub fn at(&self, ix: ConsumerIx) -> Consumer<'_> {
        self.view(&self.rows[ix.ix()])
    }

    /// Its id; cheaper than the whole.
    pub fn id(&self, ix: ConsumerIx) -> Uuid {
        self.rows[ix.ix()].id
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Consumer<'_>> + Clone {
        self.rows.iter().map(|row| self.view(row))
    }

    fn view(&self, row: &Row) -> Consumer<'_> {
        let mut rest = Unpack::at(&self.texts.packed, row.at);
        let (username, custom_id) = (rest.maybe(), rest.maybe());
        Consumer { id: row.id, username, custom_id, rest, texts: &self.texts }
    }
}

impl<'a> FromIterator<NewConsumer<'a>> for Consumers {
    fn from_iter<I: IntoIterator<Item = NewConsumer<'a>>>(all: I) -> Consumers {
        let mut consumers = Consumers::default();
        all.into_iter().for_each(|new| consumers.push(new));
        consumers
    }
}

/// By what a consumer proves who he is. Its `Debug` shows no secret.
#[derive(Clone, Copy)]
pub struct Credential<'p> {
    /// Stable id.
    pub id: Uuid,
    /// Whose.
    pub consumer: ConsumerIx,
    /// The proof.
    pub secret: Secret<&'p str>,
    rest: Unpack<'p>,
    texts: &'p Texts,
}

impl std::fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("id", &self.id).field("consumer", &self.consumer).finish_non_exhaustive()
    }
}

impl Credential<'_> {
    /// Where it was written.
    pub fn at(&self) -> Span {
        self.texts.span(&mut { self.rest })
    }
}

/// The kinds of proof; `T` is how its texts are held.
#[derive(Clone, Copy)]
pub enum Secret<T> {
    /// An API key.
    Key {
        /// The key.
        key: T,
        /// Seconds it lives after the file was loaded; `None` for ever.
        ttl_s: Option<u64>,
    },
    /// A key that signs JSON Web Tokens.
    Jwt(TokenKey<T>),
    /// Username and password (hash).
    Basic {
        /// Username.
        username: T,
        /// SHA-1 of password and consumer id, hex.
        password_hash: T,
    },
    /// Username and HMAC secret.
    Hmac {
        /// Username.
        username: T,
        /// Secret.
        secret: T,
    },
    /// A name in a certificate; the proof is that it holds.
    Subject {
        /// An alternative name or the common one.
        name: T,
        /// Who must have vouched for it, as its place among the authorities; `None`: anybody who is trusted.
        authority: Option<u32>,
    },
}

/// A key that signs JSON Web Tokens.
#[derive(Clone, Copy)]
pub struct TokenKey<T> {
    /// What the token calls it (`iss`).
    pub key: T,
    /// Shared secret, for HS*.
    pub secret: T,
    /// `HS256` …
    pub algorithm: T,
    /// PEM, for the others.
    pub public_key: Option<T>,
}

const KEY: u64 = 0;
const KEY_WITH_TTL: u64 = 1;
const JWT: u64 = 2;
const BASIC: u64 = 3;
const HMAC: u64 = 4;
const SUBJECT: u64 = 5;
const SUBJECT_BY: u64 = 6;

impl<T: AsRef<str>> Secret<T> {
    fn put(&self, out: &mut String) {
        let (kind, texts) = match self {
            Secret::Key { key, ttl_s: None } => (KEY, [Some(key), None]),
            Secret::Key { key, ttl_s: Some(_) } => (KEY_WITH_TTL, [Some(key), None]),
            Secret::Jwt(held) => (JWT, [Some(&held.key), Some(&held.secret)]),
            Secret::Basic { username, password_hash } => (BASIC, [Some(username), Some(password_hash)]),
            Secret::Hmac { username, secret } => (HMAC, [Some(username), Some(secret)]),
            Secret::Subject { name, authority: None } => (SUBJECT, [Some(name), None]),
            Secret::Subject { name, authority: Some(_) } => (SUBJECT_BY, [Some(name), None]),
        };
        put_number(out, kind);
        texts.into_iter().flatten().for_each(|text| put_text(out, text.as_ref()));
        match self {
            Secret::Key { ttl_s: Some(ttl_s), .. } => put_number(out, *ttl_s),
            Secret::Subject { authority: Some(authority), .. } => put_number(out, (*authority).into()),
            Secret::Jwt(held) => {
                put_text(out, held.algorithm.as_ref());
                put_maybe(out, held.public_key.as_ref().map(AsRef::as_ref));
            }
            _ => {}
        }
    }
}

impl<'p> Secret<&'p str> {
    fn read(rest: &mut Unpack<'p>) -> Secret<&'p str> {
        match rest.number() {
            KEY_WITH_TTL => Secret::Key { key: rest.text(), ttl_s: Some(rest.number()) },
            JWT => {
                let (key, secret, algorithm) = (rest.text(), rest.text(), rest.text());
                Secret::Jwt(TokenKey { key, secret, algorithm, public_key: rest.maybe() })
            }
            BASIC => Secret::Basic { username: rest.text(), password_hash: rest.text() },
            HMAC => Secret::Hmac { username: rest.text(), secret: rest.text() },
            SUBJECT => Secret::Subject { name: rest.text(), authority: None },
            SUBJECT_BY => Secret::Subject { name: rest.text(), authority: Some(rest.number() as u32) },
            _ => Secret::Key { key: rest.text(), ttl_s: None },
        }
    }
}

impl Credentials {
    /// Puts one behind the others.
    pub fn push<T: AsRef<str>>(&mut self, id: Uuid, consumer: ConsumerIx, secret: &Secret<T>, at: &Span) {
        self.rows.push((Row { id, at: place(&self.texts.packed) }, consumer));
        secret.put(&mut self.texts.packed);
        self.texts.put_span(at);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The one at a place of this plan.
    pub fn at(&self, ix: crate::base::id::CredentialIx) -> Credential<'_> {
        self.view(&self.rows[ix.ix()])
    }

    /// Its id; cheaper than the whole.
    pub fn id(&self, ix: crate::base::id::CredentialIx) -> Uuid {
        self.rows[ix.ix()].0.id
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Credential<'_>> + Clone {
        self.rows.iter().map(|row| self.view(row))
    }

    fn view(&self, (row, consumer): &(Row, ConsumerIx)) -> Credential<'_> {
        let mut rest = Unpack::at(&self.texts.packed, row.at);
        let secret = Secret::read(&mut rest);
        Credential { id: row.id, consumer: *consumer, secret, rest, texts: &self.texts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::CredentialIx;

    #[test]
    fn rows_are_read_as_they_were_put() {
        let (here, there) = (Arc::from("a.yml"), Arc::from("b.yml"));
        let spans = [Span::new(&here, 7, 3), Span::new(&there, 100_000, 1), Span::nowhere(), Span::new(&here, 9, 3)];
        let rows: &[(Option<&str>, Option<&str>, &[&str], &[&str])] = &[
            (Some("alice"), None, &[], &[]),
            (None, Some("ä-1"), &["staff", "b, c"], &["x"]),
            (Some("bob"), Some(""), &[], &["t", "ü"]),
            (Some(""), None, &[""], &[]),
        ];
        let of = |n: usize| {
            let (username, custom_id, groups, tags) = rows[n];
            NewConsumer { id: Uuid::from_u128(n as u128), username, custom_id, groups, tags, at: &spans[n] }
        };
        let consumers: Consumers = (0..rows.len()).map(of).collect();
        assert_eq!(consumers.len(), rows.len());
        for (n, held) in consumers.iter().enumerate() {
            let groups: Vec<&str> = held.groups().collect();
            let tags: Vec<&str> = held.tags().collect();
            assert_eq!((held.username, held.custom_id, &*groups, &*tags), rows[n], "{n}");
            assert_eq!((held.id, held.at()), (Uuid::from_u128(n as u128), spans[n].clone()), "{n}");
        }
        assert_eq!(consumers.at(ConsumerIx(2)).username, Some("bob"));
    }

    #[test]
    fn secrets_are_read_as_they_were_put_and_never_shown() {
        let jwt = |public_key| TokenKey { key: "iss", secret: "s", algorithm: "HS256", public_key };
        let secrets = [
            Secret::Key { key: "an-api-key", ttl_s: None },
            Secret::Key { key: "short-lived", ttl_s: Some(u64::MAX) },
            Secret::Jwt(jwt(None)),
            Secret::Jwt(jwt(Some("PEM"))),
            Secret::Basic { username: "u", password_hash: "h" },
            Secret::Hmac { username: "", secret: "ß" },
            Secret::Subject { name: "a.test", authority: None },
            Secret::Subject { name: "a.test", authority: Some(300) },
        ];
        let words = |secret: &Secret<&str>| match *secret {
            Secret::Key { key, ttl_s } => format!("key {key} {ttl_s:?}"),
            Secret::Jwt(held) => format!("jwt {} {} {} {:?}", held.key, held.secret, held.algorithm, held.public_key),
            Secret::Basic { username, password_hash } => format!("basic {username} {password_hash}"),
            Secret::Hmac { username, secret } => format!("hmac {username} {secret}"),
            Secret::Subject { name, authority } => format!("subject {name} {authority:?}"),
        };
        let mut credentials = Credentials::default();
        let at = Span::new(&Arc::from("f"), 3, 5);
        for (n, secret) in secrets.iter().enumerate() {
            credentials.push(Uuid::from_u128(n as u128), ConsumerIx(n as u32), secret, &at);
        }
        for (n, held) in credentials.iter().enumerate() {
            assert_eq!(words(&held.secret), words(&secrets[n]));
            assert_eq!((held.consumer, held.at()), (ConsumerIx(n as u32), at.clone()));
            assert_eq!(credentials.id(CredentialIx(n as u32)), held.id);
        }
        let shown = format!("{credentials:?} {:?}", credentials.at(CredentialIx(0)));
        assert!(!shown.contains("an-api-key") && !shown.contains("PEM"), "{shown}");
    }
}
