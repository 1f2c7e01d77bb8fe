//! Redis Sentinel: who is the master now (redis.io/docs/reference/sentinel-clients).

use super::call::{Command, Shape};
use super::{Host, Reply};

/// Asks a sentinel for the master.
pub fn ask_master(name: &str) -> Command {
    Command::plain("SENTINEL", Shape::Any).arg(b"get-master-addr-by-name").arg(name.as_bytes())
}

/// Reads its answer; `None` where it knows no such master.
pub fn master(reply: &Reply) -> Option<Host> {
    let [name, port] = reply.list() else { return None };
    Some(Host::new(name.text().filter(|name| !name.is_empty())?, port.text()?.parse().ok()?))
}

/// Reads the answer to ROLE: is it a master's? After a failover a sentinel may still tell of the old one, and "a client
/// should verify the role" before it believes it.
pub fn is_master(role: &Reply) -> bool {
    role.list().first().and_then(Reply::text) == Some("master")
}

#[cfg(test)]
mod tests {
    use super::super::codec::read;
    use super::*;

    #[test]
    fn the_master_is_read() {
        let rows = [
            ("*2\r\n$9\r\n127.0.0.1\r\n$4\r\n6379\r\n", Some("127.0.0.1:6379")),
            ("*-1\r\n", None),
            ("*2\r\n$0\r\n\r\n$4\r\n6379\r\n", None),
            ("*2\r\n$1\r\na\r\n$5\r\n70000\r\n", None),
            ("-ERR No such master with that name\r\n", None),
        ];
        for (text, want) in rows {
            let (reply, _) = read(text.as_bytes()).unwrap().unwrap();
            assert_eq!(master(&reply).map(|host| host.to_string()).as_deref(), want, "{text:?}");
        }
    }

    #[test]
    fn only_a_master_is_one() {
        let of = |text: &str| is_master(&read(text.as_bytes()).unwrap().unwrap().0);
        assert!(of("*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"));
        assert!(!of("*5\r\n$5\r\nslave\r\n$1\r\na\r\n:1\r\n$9\r\nconnected\r\n:0\r\n"));
        assert!(!of("+master\r\n"));
    }
}
