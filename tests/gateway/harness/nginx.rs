//! nginx in the place of the gateway, to calibrate the raw cases: a row that a good peer fails may be a fault of the row.
//!
//! `RINGWAY_TEST_PEER=/usr/sbin/nginx cargo test --test gateway raw` runs them so; it passes most of them.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

/// The program to run instead, if any.
pub(crate) fn peer() -> Option<String> {
    std::env::var("RINGWAY_TEST_PEER").ok()
}

/// It, with a configuration that means what [`super::Setup::open_to`] means.
pub(crate) fn command(program: &str, dir: &Path, proxy: SocketAddr, kong: &str) -> Command {
    let upstream = kong.split("url: http://").nth(1).unwrap().split_whitespace().next().unwrap();
    let dir = dir.display();
    let text = format!(
        "daemon off; worker_processes 1; error_log stderr; pid {dir}/pid;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  upstream up {{ server {upstream} max_fails=0; keepalive 64; }}
  map $http_upgrade $connection_up {{ default ''; websocket Upgrade; }}
  server {{
    listen {proxy};
    client_max_body_size 0; client_header_timeout 2s; client_body_timeout 2s; keepalive_timeout 10s;
    location / {{
      proxy_pass http://up; proxy_http_version 1.1; proxy_buffering off; proxy_request_buffering off;
      proxy_connect_timeout 1s; proxy_read_timeout 1s; proxy_send_timeout 1s;
      proxy_set_header Connection $connection_up; proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Host {upstream};
      proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }}
  }}
}}
"
    );
    std::fs::write(format!("{dir}/nginx.conf"), text).unwrap();
    let mut command = Command::new(program);
    command.args(["-c", &format!("{dir}/nginx.conf"), "-p", &dir.to_string()]);
    command
}
