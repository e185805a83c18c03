import { useEffect, useState } from 'preact/hooks'

/** A text that is being changed, and what it was. */
export interface Draft {
  readonly text: string
  readonly original: string
}

const KEY = 'sluice-draft'
const EMPTY: Draft = { text: '', original: '' }

/** A text that outlives the end of the session in this window: whoever signs in again finds what they had typed, nobody else does. */
export function useDraft(who: string) {
  const [draft, setDraft] = useState(() => readDraft(who))
  const unsaved = draft.text !== draft.original
  useEffect(() => {
    if (unsaved) sessionStorage.setItem(KEY, JSON.stringify({ who, ...draft }))
    else sessionStorage.removeItem(KEY)
  }, [draft])
  return {
    ...draft,
    unsaved,
    open: (text: string) => setDraft({ text, original: text }),
    setText: (text: string) => setDraft((before) => ({ ...before, text })),
    /** What stands somewhere else now is not lost. */
    setSaved: (original: string) => setDraft((before) => ({ ...before, original })),
    discard: () => {
      sessionStorage.removeItem(KEY)
      setDraft(EMPTY)
    },
  }
}

function readDraft(who: string): Draft {
  const kept = sessionStorage.getItem(KEY)
  if (kept === null) return EMPTY
  const found = JSON.parse(kept) as Draft & { readonly who: string }
  return found.who === who ? { text: found.text, original: found.original } : EMPTY
}
