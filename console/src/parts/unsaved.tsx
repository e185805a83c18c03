import { useEffect, useRef } from 'preact/hooks'
import { askBefore } from '../leave.ts'
import { t } from '../words.ts'

/** Asks before what was typed is lost: when something else, another view or the end of the page would take its place. */
export function Unsaved({ onDiscard }: { readonly onDiscard: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null)
  const next = useRef<() => void>(() => {})
  const released = useRef<() => void>(() => {})
  useEffect(() => {
    const release = askBefore((go) => {
      next.current = go
      dialog.current?.showModal()
    })
    released.current = release
    const warn = (event: BeforeUnloadEvent) => event.preventDefault()
    addEventListener('beforeunload', warn)
    return () => {
      release()
      removeEventListener('beforeunload', warn)
    }
  }, [])
  return (
    <dialog ref={dialog} aria-labelledby="unsaved-title">
      <h2 id="unsaved-title">{t('unsavedTitle')}</h2>
      <p>{t('unsaved')}</p>
      <div class="field">
        <button type="button" class="primary" onClick={() => dialog.current?.close()}>
          {t('keepEditing')}
        </button>
        <button
          type="button"
          onClick={() => {
            dialog.current?.close()
            released.current()
            onDiscard()
            next.current()
          }}
        >
          {t('discard')}
        </button>
      </div>
    </dialog>
  )
}
