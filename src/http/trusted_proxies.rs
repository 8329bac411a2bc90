//! The address of a client behind a proxy.
//!
//! Each proxy appends the address of its own client to `X-Forwarded-For`. A client can send this header too, so only the
//! entries that trusted proxies appended are true: these are the entries from the end up to the first address that is
//! not a trusted proxy.

use std::net::IpAddr;
use std::str::FromStr;

use awc::http::header::HeaderMap;

/// The header to which each proxy appends an address.
const FORWARDED_FOR: &str = "x-forwarded-for";
/// The maximum number of entries that the bridge reads. A chain of more proxies is a mistake or an attack.
const ENTRIES_MAX: usize = 16;

/// The addresses of the proxies in front of a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Network>);

impl TrustedProxies {
    /// Creates the list of the networks of the proxies.
    pub const fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// Returns the address of the client. `peer` is the address at the other end of the connection.
    ///
    /// If an entry of the header is not an address, the client is the last proxy that is known.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let mut entries = headers.get_all(FORWARDED_FOR).collect::<Vec<_>>();
        entries.reverse();
        let texts = entries.iter().map(|entry| entry.to_str().unwrap_or("?"));
        let mut from_the_end = texts.flat_map(|text| text.rsplit(',')).take(ENTRIES_MAX);
        while self.contains(client) {
            let next = from_the_end.next().map(|entry| entry.trim().parse());
            let Some(Ok(next)) = next else { break };
            client = IpAddr::to_canonical(&next);
        }
        client
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

/// A network in the notation of CIDR (RFC 4632): an address, or `ADDRESS/PREFIX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let different = u32::from(own) ^ u32::from(other);
                different.leading_zeros() >= self.prefix
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let different = u128::from(own) ^ u128::from(other);
                different.leading_zeros() >= self.prefix
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    /// # Errors
    /// Returns the reason if the text is not a network, or if the network contains every address: then each client could
    /// choose its address.
    fn from_str(text: &str) -> Result<Self, String> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let not_a_network =
            || format!("{text} is not an IP address or a network such as 10.20.0.0/16");
        let address: IpAddr = address.parse().map_err(|_error| not_a_network())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(bits), |prefix| {
            prefix.parse().map_err(|_error| not_a_network())
        })?;
        match prefix {
            0 => Err(format!(
                "{text} contains every address, so each client could choose its own address: name the networks of the proxies"
            )),
            1.. if prefix > bits => Err(not_a_network()),
            1.. => Ok(Self { address, prefix }),
        }
    }
}

#[cfg(test)]
mod tests {
    use awc::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn client(peer: &str, forwarded: &[&str]) -> String {
        let networks = ["10.1.0.0/16", "192.0.2.7", "2001:db8::/32"];
        let networks = networks.map(|network| network.parse().unwrap());
        let mut headers = HeaderMap::new();
        for line in forwarded {
            let name = HeaderName::from_static(FORWARDED_FOR);
            headers.append(name, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        let proxies = TrustedProxies::new(networks.to_vec());
        proxies.client(peer.parse().unwrap(), &headers).to_string()
    }

    /// FAULTS N1074
    #[test]
    fn only_what_trusted_proxies_appended_counts() {
        for (peer, forwarded, expected) in [
            ("203.0.113.9", &["198.51.100.1"][..], "203.0.113.9"),
            ("10.1.2.3", &[], "10.1.2.3"),
            ("10.1.2.3", &["198.51.100.1"], "198.51.100.1"),
            ("::ffff:10.1.2.3", &["198.51.100.1"], "198.51.100.1"),
            ("10.1.2.3", &["1.2.3.4, 198.51.100.1"], "198.51.100.1"),
            (
                "10.1.2.3",
                &["1.2.3.4,198.51.100.1 , 192.0.2.7"],
                "198.51.100.1",
            ),
            (
                "10.1.2.3",
                &["1.2.3.4", "198.51.100.1", "10.1.9.9"],
                "198.51.100.1",
            ),
            ("10.1.2.3", &["198.51.100.1, unknown"], "10.1.2.3"),
            ("10.1.2.3", &["198.51.100.1, "], "10.1.2.3"),
            ("10.1.2.3", &["198.51.100.1:4711"], "10.1.2.3"),
            ("10.1.2.3", &["198.51.100.1, é"], "10.1.2.3"),
            ("10.2.2.3", &["198.51.100.1"], "10.2.2.3"),
            ("192.0.2.8", &["198.51.100.1"], "192.0.2.8"),
            ("2001:db8::1", &["2001:db9::1"], "2001:db9::1"),
            ("10.1.2.3", &["10.1.0.1, 10.1.0.2"], "10.1.0.1"),
        ] {
            assert_eq!(client(peer, forwarded), expected, "{peer} {forwarded:?}");
        }
        let long = vec!["10.1.0.1"; 100].join(",");
        assert_eq!(client("10.1.2.3", &[&long]), "10.1.0.1");
    }

    #[test]
    fn a_network_has_an_address_and_a_prefix() {
        for wrong in [
            "",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0/8",
            "proxy",
            "::/129",
            "1.2.3.4/",
        ] {
            let reason = wrong.parse::<Network>().unwrap_err();
            assert!(
                reason.contains("is not an IP address or a network"),
                "{reason}"
            );
        }
        for all in ["0.0.0.0/0", "::/0"] {
            let reason = all.parse::<Network>().unwrap_err();
            assert!(reason.contains("contains every address"), "{reason}");
        }
    }
}
