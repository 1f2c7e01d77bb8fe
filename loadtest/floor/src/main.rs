//! The floor: what a proxy on this runtime costs before it looks at a byte.
//!
//! One thread; for each client connection one upstream connection; what either side sends is sent to the other. It parses
//! nothing, so it pairs connections one to one where a gateway shares them: with many clients it has more upstream
//! connections than a gateway would.

use monoio::buf::IoBuf;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt, Splitable};
use monoio::net::{ListenerOpts, TcpListener, TcpStream};
use std::io::Result;
use std::net::SocketAddr;

const USAGE: &str = "floor --listen ADDR --upstream ADDR [--cpu N] [--buffer BYTES]";

fn main() {
    let mut args = ring::Args::read(USAGE);
    let (listen, upstream): (SocketAddr, SocketAddr) = (args.need("listen"), args.need("upstream"));
    let cpu = args.take("cpu");
    // 32 KiB: as the gateway's large buffers.
    let buffer = args.take("buffer").unwrap_or(32 * 1024);
    args.end();
    let ended = ring::run(cpu, accept(listen, upstream, buffer));
    ring::fail(format!("cannot listen on {listen}: {ended:?}"));
}

async fn accept(listen: SocketAddr, upstream: SocketAddr, buffer: usize) -> Result<()> {
    let listener = TcpListener::bind_with_config(listen, &ListenerOpts::new().backlog(4096).reuse_port(false))?;
    loop {
        let (client, _) = listener.accept().await?;
        monoio::spawn(async move {
            // A client whose upstream refuses sees its connection closed.
            let _ = relay(client, upstream, buffer).await;
        });
    }
}

async fn relay(client: TcpStream, upstream: SocketAddr, buffer: usize) -> Result<()> {
    let origin = TcpStream::connect_addr(upstream).await?;
    client.set_nodelay(true)?;
    origin.set_nodelay(true)?;
    let (client_in, client_out) = client.into_split();
    let (origin_in, origin_out) = origin.into_split();
    monoio::spawn(pump(client_in, origin_out, buffer));
    pump(origin_in, client_out, buffer).await;
    Ok(())
}

/// Sends all of `from` to `to`; dropping `to` sends FIN.
async fn pump<R: AsyncReadRent, W: AsyncWriteRentExt>(mut from: R, mut to: W, buffer: usize) {
    let mut buf = vec![0u8; buffer];
    loop {
        let (got, back) = from.read(buf).await;
        let Ok(got @ 1..) = got else { return };
        let (sent, back) = to.write_all(back.slice(..got)).await;
        if sent.is_err() {
            return;
        }
        buf = back.into_inner();
    }
}
