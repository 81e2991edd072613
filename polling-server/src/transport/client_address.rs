//! From which address a request really comes, when proxies stand in between.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::HeaderName;
use ipnet::IpNet;
use poem::Request;

/// Each proxy adds the address that it was asked from. Only this header is read; a proxy that writes RFC 7239's instead must be told
/// to write this one.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Networks of proxies whose word is taken.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Trusts proxies in these networks.
    #[must_use]
    pub const fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The address of the client: that of the peer, unless it is a trusted proxy. Then the nearest one that is none, from the right of
    /// what the proxies wrote, because everything to the left of it is what the client claims.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if !self.trusts(client) {
            return client;
        }
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        // Whoever sends something that is no address has hidden the rest.
        let hops = lines.flat_map(|line| line.to_str().unwrap_or("?").rsplit(',')).map_while(address);
        for hop in hops {
            client = hop;
            if !self.trusts(hop) {
                break;
            }
        }
        client
    }
}

/// The client's address of a request that was served by [`serve`](crate::serve::serve), or that of the peer elsewhere.
#[must_use]
pub fn client_address(request: &Request) -> IpAddr {
    request.remote_addr().as_socket_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), SocketAddr::ip)
}

/// What counts as one address wherever each has a share: of IPv6 the network of 64 bits, because whoever has one address of it has all.
#[must_use]
pub fn share_holder(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [first, second, third, fourth, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(first, second, third, fourth, 0, 0, 0, 0))
        }
    }
}

/// Reads a network as it is configured: an address alone, or with the length of its prefix.
#[must_use]
pub fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// Reads an address as proxies write it: alone, or with a port.
fn address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let address = hop.parse::<IpAddr>().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn client(peer: &str, lines: &[&str]) -> String {
        let proxies = TrustedProxies::new(["10.0.0.0/8", "2001:db8::1"].into_iter().filter_map(network).collect());
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_str(line).expect("a header"));
        }
        proxies.client(peer.parse().expect("an address"), &headers).to_string()
    }

    #[test]
    fn a_stranger_is_not_believed() {
        assert_eq!(client("192.0.2.7", &["198.51.100.1"]), "192.0.2.7");
        assert_eq!(client("::ffff:192.0.2.7", &[]), "192.0.2.7");
    }

    #[test]
    fn behind_proxies_the_nearest_stranger_is_the_client() {
        assert_eq!(client("10.1.1.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.1.1.1", &["203.0.113.9, 198.51.100.1, 10.2.2.2"]), "198.51.100.1", "what is left of it is a claim");
        assert_eq!(client("10.1.1.1", &["203.0.113.9", "198.51.100.1"]), "198.51.100.1", "the last line is the nearest");
        assert_eq!(client("2001:db8::1", &["[2001:db8::7]:4711"]), "2001:db8::7");
        assert_eq!(client("::ffff:10.1.1.1", &["198.51.100.1:80"]), "198.51.100.1");
    }

    #[test]
    fn without_an_address_the_proxy_itself_is_the_client() {
        assert_eq!(client("10.1.1.1", &[]), "10.1.1.1");
        assert_eq!(client("10.1.1.1", &["unknown"]), "10.1.1.1");
        assert_eq!(client("10.1.1.1", &["198.51.100.1, _hidden, 10.2.2.2"]), "10.2.2.2");
        assert_eq!(client("10.1.1.1", &["10.3.3.3"]), "10.3.3.3");
    }

    #[test]
    fn a_share_is_for_what_one_customer_has() {
        let holder = |text: &str| share_holder(text.parse().expect("an address"));
        assert_eq!(holder("2001:db8:1:2:3:4:5:6"), holder("2001:db8:1:2::9"));
        assert_ne!(holder("2001:db8:1:2::9"), holder("2001:db8:1:3::9"));
        assert_eq!(holder("::ffff:192.0.2.1"), holder("192.0.2.1"));
        assert_ne!(holder("192.0.2.2"), holder("192.0.2.1"));
    }

    #[test]
    fn a_network_is_an_address_with_or_without_a_prefix() {
        for sound in ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "::1"] {
            assert!(network(sound).is_some(), "{sound}");
        }
        for wrong in ["", "10.0.0.0/33", "10.0.0", "localhost"] {
            assert!(network(wrong).is_none(), "{wrong}");
        }
    }
}
