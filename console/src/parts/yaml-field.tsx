import type { RefObject } from 'preact'
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks'
import { complete, type SchemaWords, type Suggestion } from '../complete.ts'
import { call } from '../http.ts'
import { t } from '../words.ts'

export interface YamlFieldProps {
  readonly area: RefObject<HTMLTextAreaElement | null>
  readonly text: string
  readonly setText: (text: string) => void
  /** Lines with findings, from 1. */
  readonly marked: ReadonlyMap<number, string>
}

const LINE_PX = 19.5
const LETTER_PX = 7.83
const LIST = 'suggestions'
/** Keys that move the caret and type nothing. */
const CARET_KEYS = new Set(['ArrowLeft', 'ArrowRight', 'Home', 'End', 'PageUp', 'PageDown'])

/** A text field with line numbers, and suggestions from the schema as one types. */
export function YamlField({ area, text, setText, marked }: YamlFieldProps) {
  const gutter = useRef<HTMLPreElement>(null)
  const schema = useSchema()
  const [caret, setCaret] = useState<number | undefined>(undefined)
  const [chosen, setChosen] = useState(0)
  // The list of suggestions goes along.
  const [, setScrolled] = useState(0)
  const found = useMemo(
    () => (caret === undefined || schema === undefined ? undefined : complete(text, caret, schema)),
    [text, caret, schema],
  )
  const suggestions = found?.suggestions ?? []
  const open = suggestions.length > 0
  const lines = text.split('\n')
  useLayoutEffect(() => setChosen(0), [text, caret])
  const take = ({ insert }: Suggestion) => {
    const field = area.current
    if (field === null || caret === undefined || found === undefined) return
    // In the field itself and at once: whoever types on meanwhile types behind it.
    field.focus()
    field.setSelectionRange(caret - found.replaces, caret)
    // As if it were typed: only that can be undone by the browser. Where a browser does not know it any more, without undo.
    if (!document.execCommand('insertText', false, insert))
      field.setRangeText(insert, field.selectionStart, caret, 'end')
    setText(field.value)
    setCaret(undefined)
  }
  const onKey = (event: KeyboardEvent & { readonly currentTarget: HTMLTextAreaElement }) => {
    if (event.key === ' ' && event.ctrlKey) {
      event.preventDefault()
      setCaret(event.currentTarget.selectionStart)
      return
    }
    if (!open) return
    if (event.currentTarget.selectionStart !== caret || CARET_KEYS.has(event.key)) {
      // The list belongs to the place where it was opened.
      setCaret(undefined)
      return
    }
    const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0
    if (step !== 0) setChosen((chosen + step + suggestions.length) % suggestions.length)
    else if (event.key === 'Enter' || event.key === 'Tab') take(suggestions[chosen] ?? suggestions[0]!)
    else if (event.key === 'Escape') setCaret(undefined)
    else return
    event.preventDefault()
  }
  return (
    <div class="editing">
      <pre class="gutter" aria-hidden="true" ref={gutter}>
        {lines.map((_, index) => (
          <span key={index} class={marked.get(index + 1) ?? ''}>{`${index + 1}\n`}</span>
        ))}
      </pre>
      <textarea
        ref={area}
        aria-label={t('modelText')}
        aria-autocomplete="list"
        aria-controls={open ? LIST : undefined}
        aria-activedescendant={open ? `${LIST}-${chosen}` : undefined}
        aria-description={t('completionHint')}
        spellcheck={false}
        autocapitalize="off"
        wrap="off"
        rows={Math.min(28, Math.max(12, lines.length + 1))}
        value={text}
        onKeyDown={onKey}
        onBlur={() => setCaret(undefined)}
        onClick={(event) => event.currentTarget.selectionStart === caret || setCaret(undefined)}
        onInput={(event) => {
          const { value, selectionStart } = event.currentTarget
          setText(value)
          // Only while a word is being written: an empty place suggests on demand.
          setCaret(/[\w$-]$/.test(value.slice(0, selectionStart)) ? selectionStart : undefined)
        }}
        onScroll={(event) => {
          gutter.current?.scrollTo(0, event.currentTarget.scrollTop)
          setScrolled((count) => count + 1)
        }}
      />
      {open ? (
        <div
          class="suggestions"
          id={LIST}
          role="listbox"
          aria-label={t('suggestions')}
          style={placeOf(area, text, caret)}
        >
          {suggestions.map((suggestion, at) => (
            <div
              key={suggestion.word}
              id={`${LIST}-${at}`}
              role="option"
              aria-selected={at === chosen}
              tabIndex={-1}
              ref={(element) => {
                if (at === chosen) element?.scrollIntoView({ block: 'nearest' })
              }}
              onMouseDown={(event) => {
                event.preventDefault()
                take(suggestion)
              }}
            >
              <b>{suggestion.word}</b> <span class="muted small">{suggestion.about}</span>
            </div>
          ))}
        </div>
      ) : null}
    </div>
  )
}

/** Below the caret, or above it where there is more room. */
function placeOf(area: RefObject<HTMLTextAreaElement | null>, text: string, caret: number | undefined) {
  const field = area.current
  if (field === null || caret === undefined) return {}
  const before = text.slice(0, caret)
  const line = before.split('\n').length
  const column = caret - (before.lastIndexOf('\n') + 1)
  const left = Math.min(
    field.offsetLeft + 8 + column * LETTER_PX - field.scrollLeft,
    field.offsetLeft + field.clientWidth - 200,
  )
  const below = 8 + line * LINE_PX - field.scrollTop
  const vertical =
    below > field.clientHeight / 2 ? { bottom: `${field.offsetHeight - below + LINE_PX}px` } : { top: `${below}px` }
  return { ...vertical, left: `${Math.max(4, left)}px` }
}

let known: SchemaWords | undefined

function useSchema(): SchemaWords | undefined {
  const [schema, setSchema] = useState(known)
  useEffect(() => {
    if (known !== undefined) return
    // Without it there are no suggestions, and the text is checked all the same.
    call<SchemaWords>('/v1/schema').then(
      (found) => {
        known = found
        setSchema(found)
      },
      () => {},
    )
  }, [])
  return schema
}
