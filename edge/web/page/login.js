// A way to see what was typed; without scripts the form works all the same.

const field = document.getElementById("token");
const button = document.getElementById("show");

function show(shown) {
  field.type = shown ? "text" : "password";
  button.textContent = shown ? "Hide" : "Show";
}

button.hidden = false;
button.addEventListener("click", () => {
  show(field.type === "password");
  field.focus();
});
field.form.addEventListener("submit", () => show(false)); // else the browser may remember it as it does other text
