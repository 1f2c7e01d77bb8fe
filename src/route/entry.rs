//! May a request enter by the scheme it came with? A route is found without regard to its protocols; only then it is
//! asked whether it accepts the request, so that a client learns that it ought to use TLS rather than that there is
//! nothing here.

use crate::plan::Protocol;

/// How the request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Came {
    /// By TLS, or a trusted peer says so.
    pub https: bool,
    /// By HTTP/2.
    pub http2: bool,
    /// Its `Content-Type` begins with `application/grpc`.
    pub grpc: bool,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It is served.
    Serve,
    /// 426: use TLS. With `Connection: Upgrade` and `Upgrade: TLS/1.2, HTTP/1.1`.
    UpgradeTls,
    /// This status and the same target under `https://`.
    Redirect(u16),
    /// 415: the route is for gRPC and this is not.
    NotGrpc,
    /// 426: gRPC needs HTTP/2. With `Connection: Upgrade` and `Upgrade: HTTP/2`.
    NeedHttp2,
    /// 200 with `grpc-status: 1`: the route takes gRPC over TLS only.
    GrpcNeedsTls,
}

/// By which schemes a route is entered, in four bytes: what every request asks of its route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Door {
    https_only: bool,
    grpc: bool,
    grpcs_only: bool,
    https_redirect_status: u16,
}

impl Door {
    /// That of a route with these protocols and this `https_redirect_status`.
    pub fn of(protocols: &[Protocol], https_redirect_status: u16) -> Door {
        let has = |protocol: Protocol| protocols.contains(&protocol);
        Door {
            https_only: has(Protocol::Https) && !has(Protocol::Http),
            grpc: has(Protocol::Grpc) || has(Protocol::Grpcs),
            grpcs_only: has(Protocol::Grpcs) && !has(Protocol::Grpc),
            https_redirect_status,
        }
    }

    /// Whether a request that came so may enter.
    pub fn decide(self, came: Came) -> Entry {
        if self.https_only && !came.https {
            return match self.https_redirect_status {
                301 | 302 | 307 | 308 => Entry::Redirect(self.https_redirect_status),
                _ => Entry::UpgradeTls,
            };
        }
        if !self.grpc {
            return Entry::Serve;
        }
        match came {
            Came { grpc: false, .. } => Entry::NotGrpc,
            Came { http2: false, .. } => Entry::NeedHttp2,
            Came { https: false, .. } if self.grpcs_only => Entry::GrpcNeedsTls,
            _ => Entry::Serve,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_says_by_which_scheme_it_is_entered() {
        use Protocol::{Grpc, Grpcs, Http, Https};
        let plain = Came { https: false, http2: false, grpc: false };
        let tls = Came { https: true, ..plain };
        let grpc = Came { http2: true, grpc: true, ..plain };
        let rows: [(&[Protocol], u16, Came, Entry); 16] = [
            (&[Http, Https], 426, plain, Entry::Serve),
            (&[Http, Https], 301, tls, Entry::Serve),
            (&[Http], 301, plain, Entry::Serve),
            (&[Http], 301, tls, Entry::Serve),
            (&[Https], 426, plain, Entry::UpgradeTls),
            (&[Https], 301, plain, Entry::Redirect(301)),
            (&[Https], 302, plain, Entry::Redirect(302)),
            (&[Https], 308, plain, Entry::Redirect(308)),
            (&[Https], 301, tls, Entry::Serve),
            (&[Grpc, Grpcs], 426, plain, Entry::NotGrpc),
            (&[Grpc, Grpcs], 426, Came { http2: true, ..plain }, Entry::NotGrpc),
            (&[Grpc, Grpcs], 426, Came { http2: false, ..grpc }, Entry::NeedHttp2),
            (&[Grpc, Grpcs], 426, grpc, Entry::Serve),
            (&[Grpcs], 426, grpc, Entry::GrpcNeedsTls),
            (&[Grpcs], 301, Came { https: true, ..grpc }, Entry::Serve),
            (&[], 426, plain, Entry::Serve),
        ];
        for (protocols, status, came, want) in rows {
            assert_eq!(Door::of(protocols, status).decide(came), want, "{protocols:?} {status} {came:?}");
        }
    }
}
