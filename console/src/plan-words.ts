import { language } from './words.ts'

/** What the planner says, in German; `$1` stands for what it put in there. Of a number the point becomes a comma. */
const SENTENCES: readonly (readonly [said: RegExp, german: string])[] = [
  [/^(FC\d .*) \((\d+) registers?\)$/, '$1 ($2 Register)'],
  [/^(FC\d .*) \((\d+) bits?\)$/, '$1 ($2 Bit)'],
  [/^(.*), unit (\d+)$/, '$1, Gerät $2'],
  [
    /^every (\d+)th turn of the request above is this wide, for ([\d.]+) ms more than it takes anyway$/,
    'jede $1. Runde der Anfrage darüber ist so breit und kostet $2 ms mehr als ohnehin',
  ],
  [/^the model wants one read a property$/, 'das Modell will jede Eigenschaft einzeln gelesen haben'],
  [/^nothing else is near enough to share a request$/, 'nichts anderes liegt nah genug für eine gemeinsame Anfrage'],
  [/^(\d+) properties side by side$/, '$1 Eigenschaften Seite an Seite'],
  [
    /^(\d+) properties; reading (\d+) unused registers? between them costs less than another request$/,
    '$1 Eigenschaften; $2 unbenutzte Register dazwischen mitzulesen kostet weniger als eine weitere Anfrage',
  ],
  [
    /^(\d+) properties; reading (\d+) unused bits? between them costs less than another request$/,
    '$1 Eigenschaften; $2 unbenutzte Bit dazwischen mitzulesen kostet weniger als eine weitere Anfrage',
  ],
  [
    /^a round trip takes ([\d.]+) ms and a register next to nothing: whatever fits one request is read at once$/,
    'ein Umlauf dauert $1 ms und ein Register fast nichts: was in eine Anfrage passt, wird auf einmal gelesen',
  ],
  [
    /^a request costs ([\d.]+) ms before the first register and ([\d.]+) ms a register at (\d+) baud: up to (\d+) unused registers are read through, over more a second request is cheaper$/,
    'eine Anfrage kostet $1 ms vor dem ersten Register und $2 ms je Register bei $3 Baud: bis zu $4 unbenutzte Register werden mitgelesen, darüber ist eine zweite Anfrage billiger',
  ],
  [/^the model allows gaps of (\d+) at most$/, 'das Modell erlaubt Lücken von höchstens $1'],
  [
    /^one request a property would take ([\d.]+) times as long$/,
    'eine Anfrage je Eigenschaft würde $1-mal so lange dauern',
  ],
  [
    /^the link cannot carry this: (\d+) % of its time; poll more slowly$/,
    'die Leitung kann das nicht tragen: $1 % ihrer Zeit; seltener lesen',
  ],
  [/^(.*) is not read: its address is known to be refused$/, '$1 wird nicht gelesen: das Gerät verweigert die Adresse'],
  [
    /^(.*) is not read: it is longer than the device's longest read$/,
    '$1 wird nicht gelesen: länger als alles, was das Gerät auf einmal liest',
  ],
  [
    /^turnaround of ([\d.]+) ms assumed, nothing measured yet$/,
    'Antwortzeit von $1 ms angenommen, noch nichts gemessen',
  ],
  [/^turnaround learnt: ([\d.]+) ms$/, 'Antwortzeit gelernt: $1 ms'],
  [/^the device refuses reads across (\w+) (\d+)$/, 'das Gerät verweigert, über $1 $2 hinweg zu lesen'],
  [
    /^the device refuses (\w+) (\d+) to (\d+); tried again within a day$/,
    'das Gerät verweigert $1 $2 bis $3; binnen eines Tages wird es wieder versucht',
  ],
  [/^not polled now: (.*)$/, 'wird jetzt nicht gelesen: $1'],
]

/** A sentence of the planner for German readers; as it is for all others, and where it is not known. */
export function inGerman(said: string): string {
  if (language !== 'de') return said
  const found = SENTENCES.find(([each]) => each.test(said))
  return found === undefined ? said : said.replace(found[0], found[1]).replace(/\b(\d+)\.(\d+ ms|\d+-mal)/g, '$1,$2')
}
