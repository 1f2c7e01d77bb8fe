//! Fetches the keys that issuers publish, over HTTPS or HTTP, and keeps them fresh.
//!
//! One task follows the [`Issuers`] that plugins were built for. Each is fetched at once, again when its Cache-Control says
//! so (within [`limits::JWKS_AGE_MS`]), and out of turn when a request brings a key nobody knows, at a rate that
//! [`Issuer`](crate::auth::issuer::Issuer) bounds. A fetch that fails changes nothing: the keys that are there serve on, and
//! the next try comes after a pause that grows. Both the first failure and the end of a row of them are logged, once.
//!
//! Certificates are verified against the system's store. A discovery document must be the issuer's own, and neither it nor
//! a redirect may lead from https to http. Not here: proxies, client certificates.

use super::dns::Dns;
use super::names::Question;
use crate::auth::issuer::{Issuer, Issuers, Source};
use crate::auth::jwks::KeySet;
use crate::base::limits;
use crate::base::time::WallMs;
use arc_swap::ArcSwap;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{AGE, CACHE_CONTROL};
use reqwest::{redirect, Client, Response, StatusCode, Url};
use serde_json::Value;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, Notify, Semaphore};
use tokio::time::Instant;

/// The way to the task.
pub(super) struct Keeper {
    names: Arc<ArcSwap<Dns>>,
}

impl Keeper {
    /// Starts the task on the current runtime; it asks `dns` for names.
    pub(super) fn start(issuers: Arc<Issuers>, dns: &Dns) -> Keeper {
        let names = Arc::new(ArcSwap::from_pointee(dns.clone()));
        tokio::spawn(run(issuers, Names(names.clone())));
        Keeper { names }
    }

    /// Asks `dns` from now on.
    pub(super) fn ask_by(&self, dns: &Dns) {
        self.names.store(Arc::new(dns.clone()));
    }
}

/// An issuer, and when it is fetched next.
struct Row {
    issuer: Weak<Issuer>,
    due: Instant,
    is_under_way: bool,
    /// Failures since the last success.
    failures: u32,
}

/// What a fetch has brought: keys, and how long they are good, ms; or a sentence.
type Fetched = Result<(KeySet, u64), String>;

async fn run(issuers: Arc<Issuers>, names: Names) {
    let bell = Arc::new(Notify::new());
    let rung = bell.clone();
    issuers.on_wanted(Box::new(move || rung.notify_one()));
    // Made at the first fetch: reading the system's certificates takes some milliseconds that few need.
    let mut client: Option<Result<Client, String>> = None;
    let places = Arc::new(Semaphore::new(limits::JWKS_FETCHES_MAX));
    let (sender, mut ended) = mpsc::unbounded_channel::<(Arc<Issuer>, Fetched)>();
    let mut rows: Vec<Row> = Vec::new();
    loop {
        let now = Instant::now();
        let living = issuers.living();
        rows.retain(|row| row.issuer.strong_count() > 0);
        for issuer in &living {
            let at = rows.iter().position(|row| std::ptr::eq(row.issuer.as_ptr(), Arc::as_ptr(issuer)));
            let at = at.unwrap_or_else(|| {
                rows.push(Row { issuer: Arc::downgrade(issuer), due: now, is_under_way: false, failures: 0 });
                rows.len() - 1
            });
            let row = &mut rows[at];
            if row.is_under_way || !(row.due <= now || issuer.is_wanted()) {
                continue;
            }
            row.is_under_way = true;
            issuer.begin(wall());
            issuers.fetches.fetch_add(1, Ordering::Relaxed);
            let client = client.get_or_insert_with(|| connect(&names)).clone();
            let (issuer, sender, places) = (issuer.clone(), sender.clone(), places.clone());
            tokio::spawn(async move {
                let _place = places.acquire().await;
                let life = Duration::from_millis(limits::JWKS_FETCH_MS);
                let fetched = match client {
                    Ok(client) => tokio::time::timeout(life, fetch(&client, issuer.source())).await,
                    Err(why) => Ok(Err(why)),
                };
                let fetched = fetched.unwrap_or_else(|_| Err("no whole answer in time".to_owned()));
                // Nobody listens any more: the process is ending.
                let _ = sender.send((issuer, fetched));
            });
        }
        drop(living);
        let due = rows.iter().filter(|row| !row.is_under_way).map(|row| row.due).min();
        let until_due = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = bell.notified() => {}
            () = until_due => {}
            Some((issuer, fetched)) = ended.recv() => {
                let row = rows.iter_mut().find(|row| std::ptr::eq(row.issuer.as_ptr(), Arc::as_ptr(&issuer)));
                if let Some(row) = row {
                    on_fetched(row, &issuer, &issuers, fetched);
                }
            }
        }
    }
}

fn on_fetched(row: &mut Row, issuer: &Issuer, issuers: &Issuers, fetched: Fetched) {
    row.is_under_way = false;
    let url = shown(issuer.source().url());
    let wait_ms = match fetched {
        Ok((keys, age_ms)) => {
            let (usable, ignored) = (keys.len(), keys.ignored());
            issuers.ignored.fetch_add(ignored as u64, Ordering::Relaxed);
            let held = issuer.keys();
            let is_news = held.as_ref().is_none_or(|held| held.digest() != keys.digest());
            if std::mem::take(&mut row.failures) > 0 || is_news {
                tracing::info!(url, usable, ignored, "the keys of the issuer were fetched");
            }
            issuer.put(keys);
            age_ms
        }
        Err(error) => {
            issuers.failures.fetch_add(1, Ordering::Relaxed);
            issuer.fail();
            if row.failures == 0 {
                match issuer.keys().as_ref() {
                    Some(_) => {
                        tracing::warn!(url, error, "cannot fetch the keys of the issuer; the last ones are used on")
                    }
                    None => tracing::error!(url, error, "cannot fetch the keys of the issuer, and there are none"),
                }
            }
            row.failures = row.failures.saturating_add(1);
            let (first, most) = limits::JWKS_RETRY_MS;
            first.saturating_mul(1 << (row.failures - 1).min(16)).min(most)
        }
    };
    row.due = Instant::now() + Duration::from_millis(wait_ms);
}

/// The resolver that the rest of the process asks.
#[derive(Clone)]
struct Names(Arc<ArcSwap<Dns>>);

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let dns = self.0.load_full();
        let question = Question::Ip(name.as_str().to_owned());
        Box::pin(async move {
            match dns.ask(&question).await {
                Ok(found) => {
                    // The port is the URL's; what stands here is not looked at.
                    let places = found.places.into_iter().map(|place| SocketAddr::new(place.ip, 0));
                    Ok(Box::new(places.collect::<Vec<_>>().into_iter()) as Addrs)
                }
                Err(failure) => Err(format!("cannot resolve its host: {failure:?}").into()),
            }
        })
    }
}

fn connect(names: &Names) -> Result<Client, String> {
    let follow = redirect::Policy::custom(|attempt| {
        let was_safe = attempt.previous().iter().any(|url| url.scheme() == "https");
        if attempt.previous().len() > limits::JWKS_REDIRECTS_MAX {
            attempt.error("too many redirects")
        } else if was_safe && attempt.url().scheme() != "https" {
            attempt.error("a redirect from https to http")
        } else {
            attempt.follow()
        }
    });
    let client = Client::builder()
        .user_agent(concat!("ringway/", env!("CARGO_PKG_VERSION")))
        .redirect(follow)
        .referer(false)
        // Minutes lie between two fetches.
        .pool_max_idle_per_host(0)
        .dns_resolver(Arc::new(names.clone()))
        .build();
    client.map_err(|error| said(&error))
}

async fn fetch(client: &Client, source: &Source) -> Fetched {
    let url = match source {
        Source::Keys(url) => url.clone(),
        Source::Discovery(issuer) => {
            let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
            let (text, _) = get(client, &url).await?;
            place_of_keys(issuer, &text)?
        }
    };
    let (text, age_ms) = get(client, &url).await?;
    Ok((KeySet::parse(&text)?, age_ms))
}

/// Where a discovery document says that the keys are.
///
/// OpenID Connect Discovery §4.3: "The issuer value returned MUST be identical to the Issuer URL that was used as the prefix
/// to /.well-known/openid-configuration to retrieve the configuration information."
fn place_of_keys(issuer: &str, text: &[u8]) -> Result<String, String> {
    let document: Value = serde_json::from_slice(text).map_err(|_| "the discovery document is no JSON")?;
    let text = |name: &str| document.get(name).and_then(Value::as_str);
    if text("issuer") != Some(issuer) {
        return Err("the discovery document is of another issuer".to_owned());
    }
    let url = text("jwks_uri").ok_or("the discovery document says no jwks_uri")?;
    if issuer.starts_with("https://") && !url.starts_with("https://") {
        return Err("the discovery document leads from https to http".to_owned());
    }
    Ok(url.to_owned())
}

/// What is at `url`, and how long it is good, ms.
async fn get(client: &Client, url: &str) -> Result<(Vec<u8>, u64), String> {
    let answer = client.get(url).header("accept", "application/json").send().await;
    let mut answer = answer.map_err(|error| said(&error.without_url()))?;
    if answer.status() != StatusCode::OK {
        return Err(format!("it answers {}", answer.status().as_u16()));
    }
    let age_ms = age_ms(&answer);
    let mut text = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| said(&error.without_url()))? {
        if text.len() + chunk.len() > limits::JWKS_BYTES_MAX {
            return Err("the answer is too large".to_owned());
        }
        text.extend_from_slice(&chunk);
    }
    Ok((text, age_ms))
}

fn age_ms(answer: &Response) -> u64 {
    let all = answer.headers().get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let age_s = answer.headers().get(AGE).and_then(|value| value.to_str().ok()?.trim().parse().ok()).unwrap_or(0);
    life_ms(all, age_s)
}

/// How long an answer with these Cache-Control fields and this age is good, ms, within [`limits::JWKS_AGE_MS`].
fn life_ms<'a>(fields: impl Iterator<Item = &'a str>, age_s: u64) -> u64 {
    let mut life_s: Option<u64> = None;
    for directive in fields.flat_map(|field| field.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let name = name.trim();
        if name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache") {
            life_s = Some(0);
        } else if name.eq_ignore_ascii_case("max-age") && life_s.is_none() {
            life_s = value.trim().trim_matches('"').parse().ok();
        }
    }
    let (least, most) = limits::JWKS_AGE_MS;
    match life_s {
        Some(life_s) => life_s.saturating_sub(age_s).saturating_mul(1000).clamp(least, most),
        None => limits::JWKS_AGE_MS_DEFAULT,
    }
}

/// An error with what it came from.
fn said(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// A URL as a log may show it: without what stands for a secret.
fn shown(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else { return "-".to_owned() };
    // These fail for URLs that have neither.
    let _ = (url.set_username(""), url.set_password(None));
    url.set_query(None);
    url.to_string()
}

fn wall() -> WallMs {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    WallMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_good_as_long_as_it_says_within_bounds() {
        let (least, most) = limits::JWKS_AGE_MS;
        let rows: &[(&[&str], u64, u64)] = &[
            (&[], 0, limits::JWKS_AGE_MS_DEFAULT),
            (&["public"], 0, limits::JWKS_AGE_MS_DEFAULT),
            (&["max-age=soon"], 0, limits::JWKS_AGE_MS_DEFAULT),
            (&["public, max-age=300"], 0, 300_000),
            (&["public", "Max-Age=\"300\""], 0, 300_000),
            (&["max-age=300"], 100, 200_000),
            (&["max-age=300"], 1000, least),
            (&["max-age=1"], 0, least),
            (&["max-age=99999999999"], 0, most),
            (&["max-age=300, no-cache"], 0, least),
            (&["no-store, max-age=300"], 0, least),
        ];
        for &(fields, age_s, want) in rows {
            assert_eq!(life_ms(fields.iter().copied(), age_s), want, "{fields:?}");
        }
    }

    #[test]
    fn a_discovery_document_is_the_issuers_own() {
        let rows = [
            (r#"{"issuer":"https://a.test","jwks_uri":"https://b.test/k"}"#, Ok("https://b.test/k")),
            (r#"{"issuer":"https://a.test/","jwks_uri":"https://b.test/k"}"#, Err("of another issuer")),
            (r#"{"issuer":"https://a.test.evil","jwks_uri":"https://b.test/k"}"#, Err("of another issuer")),
            (r#"{"jwks_uri":"https://b.test/k"}"#, Err("of another issuer")),
            (r#"{"issuer":"https://a.test"}"#, Err("says no jwks_uri")),
            (r#"{"issuer":"https://a.test","jwks_uri":"http://b.test/k"}"#, Err("from https to http")),
            (r#"{"issuer":"https://a.test","jwks_uri":"file:///etc/passwd"}"#, Err("from https to http")),
            ("<html>", Err("no JSON")),
        ];
        for (text, want) in rows {
            match (place_of_keys("https://a.test", text.as_bytes()), want) {
                (Ok(url), Ok(want)) => assert_eq!(url, want),
                (Err(why), Err(want)) => assert!(why.contains(want), "{text}: {why}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }

    #[test]
    fn a_log_shows_no_secret_of_a_url() {
        assert_eq!(shown("https://u:p@a.test/keys?token=x"), "https://a.test/keys");
        assert_eq!(shown("not a url"), "-");
    }
}
