//! The pingora peer: the least that its documentation calls a proxy, on one thread.
//!
//! `pingora-peer LISTEN UPSTREAM`, as `pingora-peer 127.0.0.1:9000 127.0.0.1:18080`. It adds nothing to what it passes on
//! and logs nothing: pingora alone.

use async_trait::async_trait;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::Server;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::{http_proxy_service, ProxyHttp, Session};

struct Plain {
    upstream: String,
}

#[async_trait]
impl ProxyHttp for Plain {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora_core::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream.as_str(), false, String::new())))
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let (Some(listen), Some(upstream)) = (args.next(), args.next()) else {
        eprintln!("pingora-peer LISTEN UPSTREAM");
        std::process::exit(2);
    };
    // One thread, so nothing to steal from; and as many idle upstream connections as the other peers are given.
    let conf =
        ServerConf { threads: 1, work_stealing: false, upstream_keepalive_pool_size: 512, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Plain { upstream });
    service.add_tcp(&listen);
    server.add_service(service);
    server.run_forever();
}
