// Runs once, in the list of earlier conversations; Gradio gives `element` and `trigger`.
element.addEventListener("click", (event) => {
	const button = event.target.closest("button[data-act]");
	if (!button) return;
	if (button.dataset.sure && !window.confirm(button.dataset.sure)) return;
	trigger("select", { act: button.dataset.act, conversation: button.dataset.conversation || "" });
});
