//! What the three families of ClassBench look like, in numbers.
//!
//! Counted in sets of about 10,000 rules that ClassBench's own generator made of its seeds acl1, fw1 and ipc1. Access
//! lists name hosts on both sides; firewall rules name one side and leave the other open; chains of iptables
//! ("IP chain") are between.

/// Weights of values.
pub(super) type Weights<T> = &'static [(T, u32)];

/// Prefix lengths of a rule's two sides.
pub(super) struct Lengths {
    pub(super) source: Weights<u32>,
    pub(super) destination: Weights<u32>,
}

/// Ports as ClassBench sorts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortClass {
    /// Any port.
    Any,
    /// 1024 to 65535.
    High,
    /// Some other range.
    Range,
    /// One port.
    Exact,
}

use PortClass::{Any, Exact, High, Range};

/// Ports and protocol of a rule; protocol 0 is any.
pub(super) struct Service {
    pub(super) source: PortClass,
    pub(super) destination: PortClass,
    pub(super) protocols: Weights<u8>,
}

/// How addresses of one side come about.
pub(super) struct Side {
    /// Of 1000 prefixes, how many have not been used before, in a set of 1,000 rules and in one of 10,000 or more.
    pub(super) fresh: [u32; 2],
    /// In which byte a new address departs from an earlier one.
    pub(super) departure: Weights<u32>,
}

/// A family.
pub struct Family {
    /// As the targets name it.
    pub name: &'static str,
    pub(super) lengths: Weights<&'static Lengths>,
    pub(super) services: Weights<&'static Service>,
    pub(super) source: Side,
    pub(super) destination: Side,
    pub(super) source_ports: Weights<u16>,
    pub(super) destination_ports: Weights<u16>,
    /// Of 1000 single destination ports, how many are none of those, and how many different ones these are.
    pub(super) unpopular: (u32, u32),
    pub(super) ranges: Weights<(u16, u16)>,
}

const OPEN: Weights<u32> = &[(0, 66), (1, 30), (2, 4)];

const ACL_SOURCE: Weights<u32> =
    &[(32, 5155), (31, 2379), (30, 481), (29, 116), (25, 60), (24, 436), (23, 752), (22, 223)];

/// Access lists.
pub static ACL1: Family = Family {
    name: "acl1",
    lengths: &[
        (
            &Lengths {
                source: ACL_SOURCE,
                destination: &[
                    (32, 4881),
                    (31, 1900),
                    (30, 379),
                    (28, 110),
                    (26, 70),
                    (25, 184),
                    (24, 294),
                    (23, 407),
                    (22, 670),
                    (21, 180),
                ],
            },
            920,
        ),
        (
            &Lengths {
                source: ACL_SOURCE,
                destination: &[
                    (0, 63),
                    (1, 41),
                    (3, 61),
                    (5, 66),
                    (7, 55),
                    (8, 32),
                    (14, 45),
                    (15, 87),
                    (16, 118),
                    (17, 85),
                ],
            },
            70,
        ),
        (&Lengths { source: &[(0, 39), (1, 20), (7, 19), (8, 14)], destination: OPEN }, 10),
    ],
    services: &[
        (&Service { source: Any, destination: Exact, protocols: &[(6, 98), (17, 2)] }, 554),
        (&Service { source: Any, destination: Range, protocols: &[(6, 98), (17, 2)] }, 125),
        (&Service { source: Any, destination: Any, protocols: &[(6, 64), (0, 25), (1, 11)] }, 321),
    ],
    source: Side { fresh: [120, 420], departure: &[(0, 3), (2, 4), (3, 93)] },
    destination: Side { fresh: [330, 40], departure: &[(0, 35), (1, 22), (2, 10), (3, 33)] },
    source_ports: &[],
    destination_ports: &[
        (1521, 1016),
        (1526, 303),
        (1221, 242),
        (1433, 207),
        (1525, 144),
        (14753, 141),
        (1704, 138),
        (1708, 134),
    ],
    unpopular: (570, 90),
    ranges: &[
        ((1600, 1649), 100),
        ((1300, 1349), 98),
        ((1300, 1350), 83),
        ((2200, 2210), 78),
        ((7500, 7599), 58),
        ((32200, 32207), 48),
        ((8000, 8100), 48),
        ((1025, 65535), 48),
        ((5001, 65535), 41),
        ((62400, 62409), 38),
    ],
};

const FW_SOURCE: Weights<u32> = &[
    (32, 1197),
    (31, 789),
    (30, 289),
    (29, 156),
    (28, 171),
    (27, 132),
    (26, 105),
    (24, 70),
    (23, 74),
    (22, 96),
    (21, 96),
    (20, 74),
    (16, 46),
    (12, 80),
    (8, 50),
];
const FW_DESTINATION: Weights<u32> = &[
    (32, 2995),
    (31, 2578),
    (30, 595),
    (29, 74),
    (28, 80),
    (27, 49),
    (26, 38),
    (22, 63),
    (21, 75),
    (20, 47),
];

/// Firewalls.
pub static FW1: Family = Family {
    name: "fw1",
    lengths: &[
        (&Lengths { source: OPEN, destination: FW_DESTINATION }, 600),
        (&Lengths { source: FW_SOURCE, destination: OPEN }, 257),
        (&Lengths { source: FW_SOURCE, destination: FW_DESTINATION }, 107),
        (&Lengths { source: OPEN, destination: OPEN }, 36),
    ],
    services: &[
        (&Service { source: Any, destination: Exact, protocols: &[(6, 75), (17, 25)] }, 579),
        (
            &Service {
                source: Any,
                destination: Any,
                protocols: &[(6, 52), (47, 26), (1, 17), (0, 5)],
            },
            204,
        ),
        (&Service { source: Exact, destination: Any, protocols: &[(17, 1)] }, 93),
        (&Service { source: High, destination: High, protocols: &[(6, 62), (17, 38)] }, 66),
        (&Service { source: Exact, destination: Exact, protocols: &[(17, 1)] }, 21),
        (&Service { source: High, destination: Exact, protocols: &[(17, 1)] }, 19),
        (&Service { source: Exact, destination: High, protocols: &[(17, 1)] }, 17),
        (&Service { source: High, destination: Range, protocols: &[(17, 1)] }, 1),
    ],
    source: Side { fresh: [350, 1000], departure: &[(0, 6), (1, 60), (2, 14), (3, 20)] },
    destination: Side { fresh: [220, 1000], departure: &[(0, 6), (1, 80), (2, 8), (3, 6)] },
    source_ports: &[
        (123, 258),
        (53, 257),
        (750, 180),
        (161, 122),
        (88, 97),
        (69, 78),
        (67, 70),
        (7648, 65),
        (24032, 61),
        (162, 32),
    ],
    destination_ports: &[
        (22, 968),
        (80, 660),
        (25, 594),
        (53, 567),
        (123, 403),
        (544, 178),
        (750, 166),
        (2105, 160),
    ],
    unpopular: (360, 35),
    ranges: &[((33434, 33600), 1)],
};

const IPC_SOURCE: Weights<u32> = &[
    (32, 1653),
    (31, 802),
    (30, 139),
    (29, 75),
    (28, 110),
    (27, 236),
    (26, 368),
    (25, 782),
    (24, 1386),
    (23, 1315),
    (22, 519),
    (21, 105),
    (18, 84),
    (17, 273),
    (16, 300),
    (15, 120),
];
const IPC_DESTINATION: Weights<u32> = &[
    (32, 2571),
    (31, 1089),
    (30, 137),
    (29, 127),
    (28, 180),
    (27, 306),
    (26, 477),
    (25, 858),
    (24, 1168),
    (23, 610),
    (22, 168),
    (17, 218),
    (16, 403),
    (15, 236),
];

/// Chains of iptables.
pub static IPC1: Family = Family {
    name: "ipc1",
    lengths: &[
        (&Lengths { source: IPC_SOURCE, destination: IPC_DESTINATION }, 788),
        (&Lengths { source: OPEN, destination: IPC_DESTINATION }, 121),
        (&Lengths { source: IPC_SOURCE, destination: OPEN }, 86),
        (&Lengths { source: OPEN, destination: OPEN }, 5),
    ],
    services: &[
        (&Service { source: Any, destination: Exact, protocols: &[(17, 61), (6, 39)] }, 367),
        (&Service { source: Any, destination: Any, protocols: &[(0, 87), (6, 8), (1, 5)] }, 367),
        (&Service { source: Exact, destination: Any, protocols: &[(17, 53), (6, 47)] }, 144),
        (&Service { source: Any, destination: High, protocols: &[(17, 1)] }, 68),
        (&Service { source: Any, destination: Range, protocols: &[(6, 72), (17, 28)] }, 27),
        (&Service { source: Range, destination: Any, protocols: &[(6, 90), (17, 10)] }, 21),
        (&Service { source: High, destination: Any, protocols: &[(17, 1)] }, 3),
        (&Service { source: Exact, destination: Exact, protocols: &[(17, 1)] }, 3),
    ],
    source: Side { fresh: [330, 180], departure: &[(0, 6), (1, 7), (2, 22), (3, 65)] },
    destination: Side { fresh: [560, 330], departure: &[(0, 4), (1, 7), (2, 19), (3, 70)] },
    source_ports: &[
        (161, 308),
        (53, 183),
        (25, 143),
        (80, 140),
        (1433, 94),
        (143, 76),
        (5540, 53),
        (22, 50),
        (5550, 45),
        (5510, 45),
    ],
    destination_ports: &[
        (514, 637),
        (69, 622),
        (80, 389),
        (9003, 309),
        (53, 301),
        (25, 167),
        (1433, 101),
        (137, 83),
    ],
    unpopular: (260, 45),
    ranges: &[
        ((109, 110), 141),
        ((20, 23), 123),
        ((20, 21), 94),
        ((1645, 1646), 65),
        ((1812, 1813), 17),
        ((5000, 5001), 11),
    ],
};

/// All of them.
pub static FAMILIES: [&Family; 3] = [&ACL1, &FW1, &IPC1];
