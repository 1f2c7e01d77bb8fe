//! Both sides against each other, and against rustls' own.

use super::certs::{Names, Pair};
use super::engine::{Facts, Handshake, Progress};
use super::record::Fault;
use super::session::{Found, Inbox, Session};
use super::settings::{Client, Clients, Server};
use super::tickets::Tickets;
use rustls::{ClientConfig, ServerConfig};
use std::sync::Arc;

fn server(tls13_only: bool) -> Arc<ServerConfig> {
    let mut names = Names::default();
    names.set_default(vec![Pair::self_signed("a.test").expect("makes one")]);
    let alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let tickets = Arc::new(Tickets::new(0));
    Server {
        names: Arc::new(names),
        tickets,
        tls13_only,
        alpn,
        clients: Clients::Unasked,
        context: Arc::default(),
        early_data: 0,
    }
    .build()
    .expect("serves")
}

fn client(tls12_only: bool) -> Arc<ClientConfig> {
    let client = Client { roots: None, depth: None, identity: None, alpn: vec![b"http/1.1".to_vec()] };
    if !tls12_only {
        return client.build(8).expect("connects");
    }
    let mut config = client.build(8).expect("connects").as_ref().clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let builder = ClientConfig::builder_with_provider(super::settings::provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .expect("a version");
    let mut old = builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    old.dangerous().set_certificate_verifier(Arc::new(super::settings::tests_anybody()));
    old.alpn_protocols = config.alpn_protocols;
    old.enable_secret_extraction = true;
    Arc::new(old)
}

type Side = (Session, Facts, Vec<u8>);

/// Shakes hands, a piece of `step` bytes at a time.
fn shake(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>, step: usize) -> (Side, Side) {
    let name = rustls::pki_types::ServerName::try_from("a.test").expect("a name");
    let mut theirs = Handshake::connect(client.clone(), name).expect("begins");
    let mut ours = Handshake::accept(server.clone(), Some("a.test".into())).expect("begins");
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    let mut done = (false, false);
    for _ in 0..100_000 {
        if !done.1 {
            done.1 = theirs.step(&mut to_client, &mut up).expect("the client goes on") == Progress::Done;
        }
        let bytes = up.len().min(step);
        to_server.extend(up.drain(..bytes));
        if !done.0 {
            done.0 = ours.step(&mut to_server, &mut down).expect("the server goes on") == Progress::Done;
        }
        let bytes = down.len().min(step);
        to_client.extend(down.drain(..bytes));
        if done == (true, true) && up.is_empty() && down.is_empty() {
            break;
        }
    }
    let ours = ours.finish().expect("the server is done");
    let (mut session, facts, early) = theirs.finish().expect("the client is done");
    // Tickets come behind the handshake.
    if !to_client.is_empty() {
        let mut inbox = Inbox::filled(to_client, b"");
        assert!(matches!(session.open(&mut inbox), Ok(Found::More(_))));
    }
    (ours, (session, facts, early))
}

#[track_caller]
fn pass(from: &mut Session, to: &mut Session, data: &[u8]) {
    let mut out = Vec::new();
    from.seal(data, &mut out).expect("seals");
    let (mut inbox, mut got) = (Inbox::default(), Vec::with_capacity(data.len()));
    for piece in out.chunks(1000) {
        inbox.buf.extend_from_slice(piece);
        while to.open(&mut inbox).expect("opens") == Found::Data {
            inbox.take(&mut got);
        }
        inbox.compact();
    }
    assert!(got == data && inbox.is_empty());
}

#[test]
fn both_versions_pass_data_both_ways() {
    for tls12 in [false, true] {
        for step in [1, 100, 100_000] {
            let ((mut ours, facts, _), (mut theirs, _, _)) = shake(&server(false), &client(tls12), step);
            assert_eq!(facts.version, if tls12 { "TLSv1.2" } else { "TLSv1.3" });
            assert_eq!(facts.alpn.as_deref(), Some(&b"http/1.1"[..]));
            assert_eq!(ours.is_tls13(), !tls12);
            let large: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
            for data in [&b"x"[..], &large] {
                pass(&mut ours, &mut theirs, data);
                pass(&mut theirs, &mut ours, data);
            }
        }
    }
}

#[test]
fn a_second_connection_goes_on_from_the_first() {
    for tls12 in [false, true] {
        let (server, client) = (server(false), client(tls12));
        let ((_, facts, _), _) = shake(&server, &client, 100_000);
        assert!(!facts.resumed);
        let ((_, facts, _), _) = shake(&server, &client, 100_000);
        assert!(facts.resumed, "TLS 1.2: {tls12}");
    }
}

#[test]
fn a_close_is_told_from_a_cut() {
    let ((mut ours, ..), (mut theirs, ..)) = shake(&server(true), &client(false), 100_000);
    let mut out = Vec::new();
    ours.seal(b"last", &mut out).expect("seals");
    ours.close(&mut out);
    ours.close(&mut out);
    let (mut inbox, mut got) = (Inbox::filled(out, b""), Vec::with_capacity(10));
    assert_eq!(theirs.open(&mut inbox), Ok(Found::Data));
    inbox.take(&mut got);
    assert_eq!((theirs.open(&mut inbox), &*got), (Ok(Found::Closed), &b"last"[..]));
    assert!(theirs.is_closed() && !ours.is_closed());
}

#[test]
fn keys_are_changed_when_the_peer_asks() {
    let config = server(true);
    let name = rustls::pki_types::ServerName::try_from("a.test").expect("a name");
    let mut peer = rustls::ClientConnection::new(client(false), name).expect("begins");
    let mut ours = Handshake::accept(config, None).expect("begins");
    let (mut input, mut out) = (Vec::new(), Vec::new());
    loop {
        while peer.wants_write() {
            peer.write_tls(&mut input).expect("to memory");
        }
        let progress = ours.step(&mut input, &mut out).expect("goes on");
        while !out.is_empty() {
            let read = peer.read_tls(&mut &out[..]).expect("from memory");
            out.drain(..read);
            peer.process_new_packets().expect("sound");
        }
        if progress == Progress::Done {
            break;
        }
    }
    let (mut ours, ..) = ours.finish().expect("done");
    for _ in 0..3 {
        peer.refresh_traffic_keys().expect("asks");
        std::io::Write::write_all(&mut peer.writer(), b"after").expect("to memory");
        let mut inbox = Inbox::default();
        while peer.wants_write() {
            peer.write_tls(&mut inbox.buf).expect("to memory");
        }
        assert_eq!(ours.open(&mut inbox), Ok(Found::Data));
        let mut sealed = Vec::new();
        ours.seal(b"answer", &mut sealed).expect("seals");
        let mut left = &sealed[..];
        while !left.is_empty() {
            peer.read_tls(&mut left).expect("from memory");
            peer.process_new_packets().expect("sound");
        }
        let mut got = [0; 6];
        std::io::Read::read_exact(&mut peer.reader(), &mut got).expect("an answer");
        assert_eq!(&got, b"answer");
    }
    // A flood of them is not served.
    let mut inbox = Inbox::default();
    for _ in 0..100 {
        peer.refresh_traffic_keys().expect("asks");
        while peer.wants_write() {
            peer.write_tls(&mut inbox.buf).expect("to memory");
        }
    }
    assert_eq!(ours.open(&mut inbox), Err(Fault::Idle));
}

#[test]
fn nonsense_is_answered_with_an_alert() {
    let mut ours = Handshake::accept(server(false), None).expect("begins");
    let (mut input, mut out) = (b"\x16\x03\x01\x00\x05\x01\0\0\x01\0".to_vec(), Vec::new());
    assert!(ours.step(&mut input, &mut out).is_err());
    assert_eq!((out[0], out[5]), (21, 2), "{out:?}");
}
