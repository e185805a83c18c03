import type { OptionSpecs } from '../verb.ts'

/** Options of every verb that signs. */
export const SIGNING_OPTIONS = {
  board: { kind: 'text', value: 'BOARD', help: "Another board than the project's." },
  keys: { kind: 'text', value: 'DIR', help: "Folder of 'sluice fw key new'. Default signing.keys of the project." },
  next: { kind: 'flag', help: 'Sign with the next key instead of the current one.' },
  dev: {
    kind: 'flag',
    help: 'Sign with the development key: emulators and the bench take it, production boards do not.',
  },
  counter: { kind: 'count', value: 'N', help: 'Security counter. Default signing.counter of the project, else 1.' },
} as const satisfies OptionSpecs
