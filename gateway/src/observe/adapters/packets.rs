//! Lines into packets: as many as fit, none cut. Pure.

/// The packets, and how many lines were longer than one may be.
pub(super) fn pack(lines: impl IntoIterator<Item = String>, longest: usize) -> (Vec<Vec<u8>>, usize) {
    let mut packets: Vec<Vec<u8>> = Vec::new();
    let mut refused = 0;
    for line in lines {
        if line.len() > longest {
            refused += 1;
            continue;
        }
        match packets.last_mut() {
            Some(packet) if packet.len() + 1 + line.len() <= longest => {
                packet.push(b'\n');
                packet.extend_from_slice(line.as_bytes());
            }
            _ => packets.push(line.into_bytes()),
        }
    }
    (packets, refused)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_line_that_fits_is_in_one_packet_whole(lines in prop::collection::vec("[a-z]{1,40}", 0..60)) {
            let (packets, refused) = pack(lines.clone(), 32);
            let told: Vec<String> = packets
                .iter()
                .flat_map(|packet| std::str::from_utf8(packet).unwrap().split('\n').map(str::to_owned))
                .collect();
            let fits: Vec<String> = lines.iter().filter(|line| line.len() <= 32).cloned().collect();
            prop_assert_eq!(refused, lines.len() - fits.len());
            prop_assert_eq!(told, fits);
            prop_assert!(packets.iter().all(|packet| packet.len() <= 32));
            for pair in packets.windows(2) {
                let first = pair[1].split(|byte| *byte == b'\n').next().unwrap();
                prop_assert!(pair[0].len() + 1 + first.len() > 32, "there was room");
            }
        }
    }
}
