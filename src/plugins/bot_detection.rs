//! `bot-detection`: who calls itself a bot in User-Agent does not pass.
//!
//! The words below are those by which crawlers, monitors and HTTP libraries are known to call themselves. Whoever lies gets
//! through; this keeps the honest ones out.

use super::authentication::texts;
use super::expressions::Expressions;
use crate::hook::{Ctx, Descriptor, Env, Hooks, Plugin, Reply, Verdict};
use crate::http::Known;
use crate::plan::schema::{Element, Field, Kind, Rule, HTTP_PROTOCOLS};
use serde_json::Value;
use std::sync::Arc;

/// The row of this plugin.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "bot-detection",
    priority: 2500,
    version: env!("CARGO_PKG_VERSION"),
    about: "Refuses clients whose User-Agent is that of a known bot, or one of your choice. Requests without one pass.",
    example: EXAMPLE,
    fields: FIELDS,
    consumer_scope: false,
    protocols: HTTP_PROTOCOLS,
    check: |_| Vec::new(),
    build,
    hooks: Hooks { request: true, response: false },
};

const EXAMPLE: &str = r#"
services:
  - name: shop
    url: http://shop.internal:8080
    routes:
      - name: shop
        paths: [/shop]
    plugins:
      - name: bot-detection
        config:
          allow: [Googlebot]
          deny: ["(?i)python-requests"]
"#;

const EXPRESSION: Element = Element { kind: Kind::String, rules: &[Rule::Text(is_expression)] };

const FIELDS: &[Field] = &[
    Field::with_default(
        "allow",
        Kind::Array(&EXPRESSION),
        "[]",
        "Expressions; a User-Agent that one matches anywhere passes, bot or not.",
    ),
    Field::with_default(
        "deny",
        Kind::Array(&EXPRESSION),
        "[]",
        "Expressions; a User-Agent that one matches anywhere is refused like a known bot.",
    ),
];

fn is_expression(text: &str) -> Result<(), String> {
    if Expressions::is_one(text) {
        Ok(())
    } else {
        Err(format!("not a valid regex: {text}"))
    }
}

/// How bots call themselves by their trade.
const TRADES: &[&str] = &[
    "(?i:crawl|spider)",
    "[Ss]crape",
    // Not Cubot, which is a telephone.
    "[^C][^Uu][Bb]ot",
    r"(?:[Aa]rchiver|[Bb]ot|[Ii]ndexer)[ /]\d",
    r"/[A-Za-z]+[Bb]ot[ -]\d",
    r"Google.*/\+/web/snippet",
    r"\bjbot\b",
    r"\bYeti",
    "^(?:NING|Zao|voyager|vortex)",
    "archive.*org_bot",
    "Microsoft .*Bot",
    "Yahoo[a-z]*Seeker",
    r"Yandex\w",
    "Xenu.{0,2} Link Sleuth",
];

/// Names that stand before a version: `name/1.0`.
const VERSIONED: &[&str] = &[
    "008",
    "Altresium",
    "Argus",
    "BaiduMobaider",
    "BoardReader",
    "DNSGroup",
    "DataparkSearch",
    "EDI",
    "Goodzer",
    "Grub",
    "INGRID",
    "Infohelfer",
    "LOOQ",
    "PathDefender",
    "Peew",
    "PostPost",
    "Steeler",
    "VSE",
    "WebCrunch",
    "WebZIP",
    "Y!J-BR[A-Z]",
    "envolk",
    "facebookexternalhit",
    "sproose",
    "wminer",
];

/// Names that are enough, wherever they stand.
const NAMES: &[&str] = &[
    "50.nu",
    "Aboundex",
    "AdsBot-Google",
    "Apache-HttpClient",
    "AppEngine-Google",
    "Ask Jeeves",
    "Axtaris",
    "BingPreview",
    "BlogBridge",
    "BoardReader",
    "BotSeer",
    "Charlotte",
    "Checklinks",
    "Daumoa",
    "Flamingo_SearchEngine",
    "Genieo",
    "Google SketchUp",
    "Google-HTTP-Java-Client",
    "HTTP(S) Crawler",
    "HiddenMarket",
    "HooWWWer",
    "HttpMonitor",
    "Icarus6j",
    "IconSurf",
    "IlTrovatore",
    "InfuzApp",
    "InternetArchive",
    "Isara",
    "JNLP",
    "Kraken",
    "Kurzor",
    "LEIA",
    "LinkAider",
    "Llaut",
    "Mediapartners-Google",
    "Netvibes",
    "NewsGator",
    "Nutch",
    "Nymesis",
    "OOZBOT",
    "ObjectsSearch",
    "Orbiter",
    "PagePeeker",
    "PagesInventory",
    "PaxleFramework",
    "Pompos",
    "Python-urllib",
    "Read%20Later",
    "Reaper",
    "RedCarpet",
    "Retreiver",
    "Riddler",
    "Rival IQ",
    "SEOstats",
    "Scrapy",
    "Scrubby",
    "ShopSalad",
    "SimplePie",
    "SimpleRSS",
    "Simpy",
    "SiteCon",
    "Slurp",
    "Squrl Java",
    "TLSProber",
    "Tailsweep",
    "Thumbshots.ru",
    "URL2PNG",
    "Vagabondo",
    "WIRE",
    "WeSEE:",
    "Web-sniffer",
    "WebThumb",
    "WhatWeb",
    "WinHTTP",
    "WordPress",
    "Wotbox",
    "YottaaMonitor",
    "Yowedo",
    "ZooShot",
    "ZyBorg",
    "altavista",
    "archiver",
    "boitho.com-dc",
    "charlotte",
    "clumboot",
    "favicon",
    "fetchurl",
    "findlinks",
    "GomezAgent",
    "gonzo1",
    "grub-client",
    "heritrix",
    "holmes",
    "htdig",
    "http%20client",
    "ia_archiver",
    "ichiro",
    "larbin",
    "lycos",
    "mogimogi",
    "mozDex",
    "netresearch",
    "scooter",
    "searchsight",
    "semanticdiscovery",
    "snappy",
    "www.almaden.ibm.com",
    "yacy",
];

fn bots() -> Vec<String> {
    let trades = TRADES.iter().map(|&text| text.to_owned());
    let versioned = std::iter::once(format!(r"(?:{})/\d", VERSIONED.join("|")));
    trades.chain(versioned).chain(NAMES.iter().map(|name| regex_syntax::escape(name))).collect()
}

/// The built-in expressions, compiled once per generation.
struct Bots(Result<Option<Expressions>, String>);

fn build(config: &Value, env: &Env<'_>) -> Result<Arc<dyn Plugin>, String> {
    let bots = env.generation.take_or(|| Bots(Expressions::of(&bots())));
    if let Err(why) = &bots.0 {
        return Err(why.clone());
    }
    Ok(Arc::new(BotDetection {
        allow: Expressions::of(&texts(config, "allow"))?,
        deny: Expressions::of(&texts(config, "deny"))?,
        bots,
    }))
}

struct BotDetection {
    allow: Option<Expressions>,
    deny: Option<Expressions>,
    bots: Arc<Bots>,
}

impl Plugin for BotDetection {
    fn on_request(&self, cx: &mut Ctx<'_>) -> Verdict {
        let mut agents = cx.head.all(Known::UserAgent);
        let Some(agent) = agents.next().map(<[u8]>::trim_ascii) else { return Verdict::Next };
        if agents.next().is_some() {
            return refuse(400, "Only one User-Agent header allowed");
        }
        let bots = self.bots.0.as_ref().ok().and_then(Option::as_ref);
        let mut is = |which: Option<&Expressions>| which.is_some_and(|one| one.match_any(cx.locals, agent));
        if !is(self.allow.as_ref()) && (is(self.deny.as_ref()) || is(bots)) {
            return refuse(403, "Forbidden");
        }
        Verdict::Next
    }
}

#[cold]
fn refuse(status: u16, message: &'static str) -> Verdict {
    Verdict::Reply(Box::new(Reply::message(status, message)))
}

#[cfg(test)]
mod tests {
    use super::super::rig::Rig;
    use super::*;
    use serde_json::json;

    const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0";

    #[test]
    fn bots_are_known_by_their_names() {
        let mut rig = Rig::new(&DESCRIPTOR, json!({}));
        let mut ask = |agent: &str| rig.ask(&format!("GET /\nUser-Agent: {agent}")).said();
        let people = [
            "",
            BROWSER,
            "curl/8.10",
            "CUBOT_NOTE",
            "Mozilla/5.0 (Linux; Android 10; Cubot X30) Chrome/120.0 Mobile",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_0) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Safari/605.1.15",
            "okhttp/4.12",
            "robo/1",
        ];
        for agent in people {
            assert_eq!(ask(agent), "next", "{agent}");
        }
        let bots = [
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "facebookexternalhit/1.1",
            "Twitterbot/1.0",
            "Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)",
            "Python-urllib/3.11",
            "Apache-HttpClient/4.5",
            "Mozilla/5.0 (compatible; Yahoo! Slurp; http://help.yahoo.com)",
            "Mozilla/5.0 (compatible; Baiduspider/2.0)",
            "ia_archiver",
            "Scrapy/2.11",
            "WordPress/6.1; https://a.test",
            "my-CRAWLER",
            "ab Bot 1",
            "Nutch-1.9",
            "jbot",
            "NING/1.0",
        ];
        for agent in bots {
            assert_eq!(ask(agent), "403 E(Forbidden)", "{agent}");
        }
    }

    #[test]
    fn lists_go_before_what_is_known() {
        let config = || json!({"allow": ["^Googlebot"], "deny": ["Firefox/1[23]\\d"]});
        let mut rig = Rig::new(&DESCRIPTOR, config());
        let rows = [
            ("Googlebot/2.1", "next"),
            ("  Googlebot/2.1", "next"),
            ("a Googlebot/2.1", "403 E(Forbidden)"),
            (BROWSER, "403 E(Forbidden)"),
            ("firefox/130", "next"),
        ];
        for (agent, want) in rows {
            assert_eq!(rig.ask(&format!("GET /\nUser-Agent: {agent}")).said(), want, "{agent}");
        }
        assert_eq!(rig.ask("GET /").said(), "next");
        let twice = rig.ask("GET /\nUser-Agent: Googlebot\nUser-Agent: b").said();
        assert_eq!(twice, "400 E(Only one User-Agent header allowed)");
        assert_eq!(is_expression("("), Err("not a valid regex: (".to_owned()));
    }
}
