// The page's elements. Names of classes, cameras and files may hold markup, so that all text goes in as text.

export const $ = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Keeps a list's elements, so that a person who points at one still does so after the next answer.
export function fill(list, items, create, update) {
  while (list.children.length > items.length) list.lastElementChild.remove();
  items.forEach((item, index) => {
    if (!list.children[index]) list.append(create());
    update(list.children[index], item);
  });
}

// Pairs of a name and a value in a <dl>; what an entry tells besides is smaller. An alarm stands out.
export function facts(list, entries) {
  const create = () => make("div", {}, make("dt"), make("dd"), make("dd", { className: "small" }));
  fill(list, entries, create, (element, { name, value, about = "", alarm = false }) => {
    const [title, main, more] = element.children;
    say(title, name);
    say(main, value);
    say(more, about);
    more.hidden = !about;
    element.classList.toggle("alarm", alarm);
  });
}
