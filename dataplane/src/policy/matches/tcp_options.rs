//! The options of a TCP header (RFC 9293, 3.1), walked as the kernel's matches walk them (`tcp_find_option` in
//! `net/netfilter/xt_tcpudp.c`, `net/netfilter/xt_tcpmss.c`): what a sender would get wrong is stepped over, and
//! nothing ends the list but its end.

/// The header is cut off, or says that it is shorter than a TCP header can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

/// The options of the TCP header that these bytes begin with.
#[derive(Debug, Clone, Copy)]
pub(super) struct TcpOptions<'a>(&'a [u8]);

const FIXED_BYTES: usize = 20;

impl<'a> TcpOptions<'a> {
    /// # Errors
    /// If they cannot be read as a whole.
    pub(super) fn new(header: &'a [u8]) -> Result<Self, Broken> {
        let fixed = header.get(..FIXED_BYTES).ok_or(Broken)?;
        let header_len = usize::from(fixed[12] >> 4) * 4;
        header.get(FIXED_BYTES..header_len).map(Self).ok_or(Broken)
    }
}

impl<'a> Iterator for TcpOptions<'a> {
    /// The kind of an option, and the bytes from that on.
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let here = self.0;
        let kind = *here.first()?;
        let len = match here.get(1) {
            _ if kind < 2 => 1,
            None | Some(0) => 1,
            Some(len) => usize::from(*len),
        };
        self.0 = here.get(len..).unwrap_or_default();
        Some((kind, here))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(header_words: u8, options: &[u8]) -> Result<Vec<u8>, Broken> {
        let mut header = [0; FIXED_BYTES].to_vec();
        header[12] = header_words << 4;
        header.extend(options);
        TcpOptions::new(&header).map(|options| options.map(|(kind, _)| kind).collect())
    }

    #[test]
    fn options_are_walked_to_the_end_of_the_header() {
        assert_eq!(kinds(5, &[]), Ok(vec![]));
        assert_eq!(kinds(5, &[1, 1, 1, 1]), Ok(vec![]), "that is data");
        assert_eq!(kinds(6, &[2, 4, 5, 180]), Ok(vec![2]));
        assert_eq!(kinds(6, &[0, 3, 2, 0]), Ok(vec![0, 3, 0]), "nothing ends at 0");
        assert_eq!(kinds(6, &[9, 0, 8, 1]), Ok(vec![9, 0, 8, 1]), "no length is one");
        assert_eq!(kinds(6, &[9, 200, 8, 1]), Ok(vec![9]));
        assert_eq!(kinds(6, &[1, 1, 1, 9]), Ok(vec![1, 1, 1, 9]));
        assert_eq!(kinds(4, &[1, 1, 1, 1]), Err(Broken));
        assert_eq!(kinds(7, &[1, 1, 1, 1]), Err(Broken));
        assert_eq!(TcpOptions::new(&[0x50; 19]).map(|_| ()), Err(Broken));
    }
}
