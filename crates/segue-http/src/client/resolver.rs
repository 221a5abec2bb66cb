//! Names to addresses, those left out that may not be reached.

use std::{net::SocketAddr, sync::Arc};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::allow::AllowList;

/// Resolves as the system does, and hands out only addresses that may be reached: the connection goes to one of them,
/// whatever the name leads to a moment later.
pub(super) struct CheckedResolver {
    pub(super) allowed: Arc<AllowList>,
    /// The proxy's host: the user's own choice.
    pub(super) proxy: Option<String>,
}

/// A name that leads only to what may not be reached.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}")]
pub(super) struct Blocked {
    pub(super) what: &'static str,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = self.allowed.clone();
        let is_proxy = self.proxy.as_deref() == Some(name.as_str());
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if is_proxy {
                return Ok(Box::new(found.into_iter()) as Addrs);
            }
            let (mut open, mut blocked) = (Vec::new(), None);
            for address in found {
                match allowed.check(Some(name.as_str()), address.ip()) {
                    Ok(()) => open.push(address),
                    Err(what) => blocked = Some(what),
                }
            }
            match blocked {
                Some(what) if open.is_empty() => Err(Blocked { what }.into()),
                _ => Ok(Box::new(open.into_iter()) as Addrs),
            }
        })
    }
}
