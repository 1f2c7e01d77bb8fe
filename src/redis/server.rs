//! Which Redis, and who we are there. Plain data; equal where a connection to one would serve for the other, so that
//! connections outlive a reload.

use std::fmt;

/// A Redis, or a group of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where.
    pub place: Place,
    /// Who we are there.
    pub login: Login,
    /// How it is spoken to; `None`: in the clear.
    pub secure: Option<Secure>,
    /// Number of the database; 0 in a cluster.
    pub database: u32,
    /// Of connecting, ms.
    pub connect_ms: u64,
    /// Of sending, ms.
    pub send_ms: u64,
    /// Of waiting for an answer, ms.
    pub read_ms: u64,
}

/// TLS towards a Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secure {
    /// Must its certificate be good?
    pub verify: bool,
    /// Whom it must be for, and who is asked for; the host where not given.
    pub name: Option<String>,
}

/// Where a Redis is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// One server.
    Single(Host),
    /// A cluster, and those of its nodes that are asked first which nodes there are.
    Cluster(Vec<Host>),
    /// The master that sentinels tell of.
    Sentinel {
        /// The sentinels, asked in this order.
        sentinels: Vec<Host>,
        /// What they call the master.
        master: String,
        /// Who we are to the sentinels.
        login: Login,
    },
}

/// A name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    /// Name or address, lower-case; IPv6 without brackets.
    pub name: String,
    /// Port.
    pub port: u16,
}

impl Host {
    /// A host of a name as somebody wrote it.
    pub fn new(name: &str, port: u16) -> Host {
        Host { name: name.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase(), port }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            return write!(f, "[{}]:{}", self.name, self.port);
        }
        write!(f, "{}:{}", self.name, self.port)
    }
}

/// User and password. Never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// User of an ACL; the default user where there is none.
    pub username: Option<String>,
    /// Password; without one nobody is named at all.
    pub password: Option<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.password.is_some() { "Login(…)" } else { "Login(none)" })
    }
}

impl Server {
    /// The longest that a call may take, connecting included, ms.
    pub fn call_ms(&self) -> u64 {
        self.connect_ms.max(self.send_ms).max(self.read_ms).max(1)
    }

    /// What logs and metrics call it; holds no secret.
    pub fn label(&self) -> String {
        let list = |hosts: &[Host]| hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        match &self.place {
            Place::Single(host) => host.to_string(),
            Place::Cluster(nodes) => format!("cluster {}", list(nodes)),
            Place::Sentinel { sentinels, master, .. } => format!("{master} of {}", list(sentinels)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let login = Login { username: Some("gate".to_owned()), password: Some("hush".to_owned()) };
        let place = Place::Sentinel {
            sentinels: vec![Host::new("A.test", 26379), Host::new("[::1]", 1)],
            master: "m".to_owned(),
            login: login.clone(),
        };
        let server = Server { place, login, secure: None, database: 0, connect_ms: 1, send_ms: 2, read_ms: 3 };
        assert!(!format!("{server:?}{}", server.label()).contains("hush"));
        assert_eq!((server.label().as_str(), server.call_ms()), ("m of a.test:26379,[::1]:1", 3));
    }
}
