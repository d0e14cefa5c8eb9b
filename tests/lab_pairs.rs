//! Goal: three pairs talk at once over the same two RTP ports, paired first come, first served, and
//! no voice crosses into a wrong pair.
//! Method: a real Asterisk, the whole product, six phones, each with phrases of its own; what each
//! one heard must be exactly the translations of its partner's.

mod support;

use support::lab_asterisk::Asterisk;
use support::lab_call::{Pair, assert_legs_balance, folder, wait_for_pairs};
use support::product_programs::{self, Vendors};
use support::product_speech::Phrase;

/// By then all six have been answered.
const FIRST_WORD_S: f64 = 5.0;

const PAIRS: [Pair; 3] = [
    Pair {
        name: "doctor",
        codec: "pcmu",
        in_english: &[
            Phrase {
                en: "I would like to make an appointment tomorrow morning.",
                fr: "J'aimerais prendre rendez-vous demain matin.",
            },
            Phrase {
                en: "I agree with your proposal.",
                fr: "Je suis d'accord avec votre proposition.",
            },
        ],
        in_french: &[
            Phrase {
                en: "Where does it hurt?",
                fr: "Où avez-vous mal ?",
            },
            Phrase {
                en: "When will the technician come?",
                fr: "Quand le technicien viendra-t-il ?",
            },
        ],
    },
    Pair {
        name: "order",
        codec: "pcmu",
        in_english: &[
            Phrase {
                en: "My order has not arrived yet.",
                fr: "Ma commande n'est pas encore arrivée.",
            },
            Phrase {
                en: "One item is missing from my order.",
                fr: "Il manque un article dans ma commande.",
            },
        ],
        in_french: &[
            Phrase {
                en: "What is your telephone number?",
                fr: "Quel est votre numéro de téléphone ?",
            },
            Phrase {
                en: "The package will be delivered tomorrow evening.",
                fr: "Le colis sera livré demain soir.",
            },
        ],
    },
    Pair {
        name: "hotel",
        codec: "pcmu",
        in_english: &[
            Phrase {
                en: "How much does it cost per night?",
                fr: "Combien cela coûte-t-il par nuit ?",
            },
            Phrase {
                en: "Do you have a room available this weekend?",
                fr: "Avez-vous une chambre disponible ce week-end ?",
            },
        ],
        in_french: &[
            Phrase {
                en: "Which language do you prefer?",
                fr: "Quelle langue préférez-vous ?",
            },
            Phrase {
                en: "Could you spell your family name?",
                fr: "Pouvez-vous épeler votre nom de famille ?",
            },
        ],
    },
];

#[test]
fn three_pairs_at_once_hear_their_own_partners_only() {
    let Some(asterisk) = Asterisk::start() else {
        return;
    };
    let folder = folder("pairs");
    let vendors = Vendors::start();
    let diglot = product_programs::run(&asterisk, &vendors);
    // All the English callers wait before the first French one calls.
    let mut french = Vec::new();
    let mut talks = Vec::new();
    for pair in PAIRS {
        let [caller, partner] = pair.callers(&folder, FIRST_WORD_S);
        french.push(partner);
        talks.push(caller);
    }
    let callers = talks.into_iter().chain(french);
    let talks: Vec<_> = callers
        .map(|caller| caller.call(&asterisk, &folder))
        .collect();
    wait_for_pairs(&diglot, PAIRS.len());
    for talk in talks {
        talk.assert_heard();
    }
    asterisk.assert_empty();
    assert_legs_balance(&diglot);
}
